"""A card is unchanged after writing and reading; a damaged card is refused."""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import UTC, datetime
from pathlib import Path

import pytest

from models.card import CARD_FILE, CalibrationBin, Card, Column, DataSource, Parity, read_card, write_card
from models.errors import ArtifactInvalid
from models.profile import CategoryProfile, NumericProfile, Profile


def make_card(name: str = "tiny", *, created: datetime | None = None) -> Card:
    """Return a card with a value in every field."""
    return Card(
        name=name,
        task="tabular-classification",
        algorithm="none at all",
        created=created or datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        inputs=(
            Column("größe in cm", "number", minimum=-1.5, maximum=2.0, nullable=True, required=False, example=0.25),
            Column("a.b", "integer", example=3),
            Column("flag", "boolean", example=True),
            Column("kind", "category", categories=("x", "y z"), accepts_unknown=True, example="x"),
        ),
        outputs=(Column("prediction", "category", categories=("no", "yes")),),
        metrics={"roc_auc": 0.1 + 0.2, "accuracy": 1.0},
        data=DataSource("table.csv", "0" * 64, 12),
        classes=("no", "yes"),
        description="für alle",
        slices={"kind=x": {"rows": 3.0}},
        params={"seed": 1, "rate": 0.5, "flag": True, "note": "text", "nothing": None},
        libraries={"numpy": "2.4.6"},
        parity=Parity("slow 1", "fast 2", rows=12, max_difference=1e-7, top1_agreement=1.0),
        profile=Profile(
            rows=12,
            numeric={"größe in cm": NumericProfile((0.0, 1.0, 2.0), (5, 6), missing=1, mean=0.5, std=0.25)},
            categories={"kind": CategoryProfile({"x": 7, "y z": 5})},
            outputs={"prediction": CategoryProfile({"no": 6, "yes": 6}), "p": NumericProfile((0.0, 1.0), (12,))},
        ),
        importance={"a.b": 0.125},
        calibration=(CalibrationBin(0.0, 0.1, 4, 0.05, 0.25),),
    )


def test_a_card_is_unchanged_after_writing_and_reading(tmp_path: Path) -> None:
    write_card(make_card(), tmp_path)
    assert read_card(tmp_path) == make_card()


def test_types_of_parameters_and_examples_are_unchanged(tmp_path: Path) -> None:
    write_card(make_card(), tmp_path)
    card = read_card(tmp_path)
    assert [type(value) for value in card.params.values()] == [int, float, bool, str, type(None)]
    assert [type(column.example) for column in card.inputs] == [float, int, bool, str]


def test_a_card_of_an_older_version_without_the_optional_fields_is_read(tmp_path: Path) -> None:
    write_card(make_card(), tmp_path)
    fields = json.loads((tmp_path / CARD_FILE).read_text())
    for name in ("importance", "calibration", "profile", "parity", "libraries"):
        del fields[name]
    (tmp_path / CARD_FILE).write_text(json.dumps(fields))
    assert read_card(tmp_path).importance == {}
    assert read_card(tmp_path).profile is None


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_cannot_hold_are_refused_and_nothing_is_written(tmp_path: Path, number: float) -> None:
    card = dataclasses.replace(make_card(), metrics={"roc_auc": number})
    with pytest.raises(ValueError, match="card cannot be written as JSON"):
        write_card(card, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_missing_card_is_named_by_its_artifact(tmp_path: Path) -> None:
    folder = tmp_path / "tiny" / "v1"
    folder.mkdir(parents=True)
    with pytest.raises(ArtifactInvalid, match=r"artifact 'tiny:v1' has no readable card\.json"):
        read_card(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"name": "tiny"}', b"\xff\xfe", b"\x00" * 64])
def test_a_malformed_card_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CARD_FILE).write_bytes(content)
    with pytest.raises(ArtifactInvalid, match="is malformed"):
        read_card(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("task", 7), ("created", "yesterday"), ("metrics", {"a": "good"}), ("inputs", [{"name": "a"}])],
)
def test_a_card_with_one_wrong_field_is_refused(tmp_path: Path, field: str, value: object) -> None:
    write_card(make_card(), tmp_path)
    fields = json.loads((tmp_path / CARD_FILE).read_text()) | {field: value}
    (tmp_path / CARD_FILE).write_text(json.dumps(fields))
    with pytest.raises(ArtifactInvalid, match="malformed: 1 errors"):
        read_card(tmp_path)


def test_a_card_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / CARD_FILE).mkdir()
    with pytest.raises(ArtifactInvalid):
        read_card(tmp_path)

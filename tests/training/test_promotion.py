"""Tests of the gate between saving a version and making it the one that `latest` names."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from models.card import Card, Column, DataSource
from models.store.artifacts import find, versions
from training.promotion import objection_to_latest, saving_version

CARD = Card(
    name="churn",
    task="tabular-classification",
    algorithm="test",
    created=datetime(2026, 1, 1, tzinfo=UTC),
    inputs=(Column("age", "integer"),),
    outputs=(Column("prediction", "category"),),
    metrics={"roc_auc": 0.8, "accuracy": 0.7},
    data=DataSource("churn.csv", "0" * 64, 100),
    classes=("no", "yes"),
)


def save(store: Path, *, is_forced: bool = False, **changes: Any) -> str:
    card = replace(CARD, created=CARD.created + timedelta(days=len(versions("churn", store=store))), **changes)
    with saving_version(card, is_forced=is_forced, store=store) as saved:
        (saved.folder / "weights.npy").write_bytes(b"weights")
    assert saved.artifact.card == card
    return saved.artifact.version


def test_the_first_version_and_one_that_is_as_good_are_promoted(tmp_path: Path) -> None:
    save(tmp_path)
    for roc_auc in (0.79, 0.9):
        version = save(tmp_path, metrics={"roc_auc": roc_auc})
        assert find("churn:latest", store=tmp_path).version == version


@pytest.mark.parametrize(
    ("changes", "objection"),
    [
        ({"metrics": {"roc_auc": 0.6}}, "its roc_auc is 0.6000, and that of churn:"),
        ({"classes": ("no", "maybe", "yes")}, "its classes differ from those of churn:"),
        ({"inputs": (Column("age", "number"),)}, "its inputs differ from those of churn:"),
        ({"task": "tabular-regression"}, "its task is tabular-regression"),
    ],
)
def test_a_worse_or_different_version_is_saved_and_not_promoted(
    tmp_path: Path, changes: dict[str, Any], objection: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = save(tmp_path)
    assert objection_to_latest(replace(CARD, **changes), store=tmp_path).startswith(objection)
    second = save(tmp_path, **changes)
    assert find("churn", store=tmp_path).version == first
    assert find(f"churn:{second}", store=tmp_path).version == second
    assert "--promote overrides this" in capsys.readouterr().err
    third = save(tmp_path, is_forced=True, **changes)
    assert find("churn", store=tmp_path).version == third

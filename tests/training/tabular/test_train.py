"""Tests of tabular training: from a file to an artifact that agrees with the trained model, or to an error."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.card import Card
from models.errors import ArtifactInvalid, DataInvalid, GateNotMet, InvalidInput, ParityNotMet
from models.profile import CategoryProfile, NumericProfile
from models.store.artifacts import Artifact, verify
from models.tabular.model import MODEL_FILE, TabularModel
from models.tabular.row_encoder import RowEncoder
from tests.training.example_tables import diabetes_csv, mixed_frame, wine_parquet
from training.tabular import onnx_graph
from training.tabular import train as train_module
from training.tabular.params import Params
from training.tabular.predictor import TablePredictor
from training.tabular.train import train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("mixed")
    mixed_frame().to_csv(folder / "shop.csv", index=False)
    options = Params(data=folder / "shop.csv", target="bought", unknown_categories="accept", folds=3, name="shop")
    return train(options, store=folder / "models")


def answer_one(artifact: Artifact, **row: object) -> list[float]:
    encoded = RowEncoder(artifact.card).encode([row])
    answered: list[float] = TabularModel.load(artifact).predict(encoded)[0].tolist()
    return answered


def check_profile(card: Card) -> None:
    """Check that the profile of every input and output counts every row."""
    profile = card.profile
    assert profile is not None
    assert set(profile.numeric) | set(profile.categories) == {column.name for column in card.inputs}
    assert set(profile.outputs) == {column.name for column in card.outputs}
    for entry in (*profile.numeric.values(), *profile.categories.values(), *profile.outputs.values()):
        counts = entry.counts.values() if isinstance(entry, CategoryProfile) else entry.counts
        assert sum(counts) + entry.missing == profile.rows
        if isinstance(entry, NumericProfile):
            assert len(entry.edges) == len(entry.counts) + 1
            assert list(entry.edges) == sorted(set(entry.edges))


def test_the_card_describes_the_default_model(tabular_artifact: Artifact) -> None:
    card = tabular_artifact.card
    verify(tabular_artifact)
    assert card.task == "tabular-classification"
    assert card.classes == ("bad", "good")
    assert card.metrics["roc_auc"] >= 0.7
    assert card.metrics["accuracy"] > card.metrics["accuracy_of_the_commonest_class"]
    assert card.metrics["ece"] < 0.1
    assert card.parity is not None
    assert card.parity.rows == 1000
    assert card.parity.max_difference <= 1e-4
    assert card.parity.top1_agreement == 1
    assert {column.name: column.kind for column in card.inputs} == {
        "sex": "category", "job": "integer", "housing": "category", "saving_accounts": "category",
        "checking_account": "category", "credit_amount": "integer", "duration": "integer", "purpose": "category",
        "age": "integer",
    }  # fmt: skip
    assert all(column.required and not column.nullable and column.description for column in card.inputs)
    assert {"sex=female", "sex=male", "housing=own"} <= set(card.slices)
    classes = [card.slices[f"class={name}"] for name in card.classes]
    assert sum(each["support"] for each in classes) == card.params["rows_tested"]
    assert all(0 < each["precision"] <= 1 and 0 < each["recall"] <= 1 for each in classes)
    assert next(iter(card.importance)) == "checking_account"
    assert sum(entry.rows for entry in card.calibration) == 200
    assert (card.params["target"], card.params["rows_trained"], card.params["rows_tested"]) == ("risk", 800, 200)
    assert (card.data.rows, len(card.data.sha256)) == (1000, 64)
    check_profile(card)


def test_the_report_is_saved_with_the_model(tabular_artifact: Artifact) -> None:
    report = (tabular_artifact.folder / "report.md").read_text()
    for part in ("## Metrics", "| sex=female |", "## Calibration", "## Importance", "cross-validation of"):
        assert part in report


def test_the_same_seed_makes_the_same_model(tmp_path: Path) -> None:
    path = diabetes_csv(tmp_path)
    options = Params(data=path, target="target", folds=2, seed=3)
    first, second = (train(options, store=tmp_path / name) for name in ("a", "b"))
    assert (first.folder / MODEL_FILE).read_bytes() == (second.folder / MODEL_FILE).read_bytes()
    assert dataclasses.replace(first.card, created=second.card.created) == second.card


def test_a_number_is_predicted(tmp_path: Path) -> None:
    artifact = train(Params(data=diabetes_csv(tmp_path), target="target", name="diabetes"), store=tmp_path / "models")
    card = artifact.card
    assert (card.name, card.task, card.classes) == ("diabetes", "tabular-regression", ())
    assert [(column.name, column.kind) for column in card.outputs] == [("prediction", "number")]
    assert 0.2 < card.metrics["r2"] < 0.8
    assert card.metrics["rmse"] < card.metrics["rmse_of_the_mean"]
    assert not card.calibration
    assert {column.kind for column in card.inputs} == {"number"}
    check_profile(card)
    (estimate,) = answer_one(artifact, **{column.name: column.example for column in card.inputs})
    assert 25 < estimate < 346


def test_several_classes_are_predicted(tmp_path: Path) -> None:
    artifact = train(Params(data=wine_parquet(tmp_path), target="grower", folds=3), store=tmp_path / "models")
    card = artifact.card
    assert card.classes == ("class_0", "class_1", "class_2")
    assert card.metrics["accuracy"] > 0.9
    check_profile(card)
    rows = pd.read_parquet(tmp_path / "wine.parquet")
    encoded = RowEncoder(card).encode(rows.drop(columns="grower").to_dict("records"))
    answers = TabularModel.load(artifact).predict(encoded)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-6)
    assert (np.array(card.classes)[answers.argmax(axis=1)] == rows["grower"]).mean() > 0.95


def test_every_kind_of_column_is_served(mixed: Artifact) -> None:
    card = mixed.card
    assert {column.name for column in card.inputs} == {"größe in cm", "no.of.visits", "vip", "city", "is_new", "joined"}
    assert card.metrics["roc_auc"] > 0.8
    assert "column customer_id left out" in card.params
    check_profile(card)
    tall = {"größe in cm": 190.0, "no.of.visits": 3, "vip": True, "city": "Köln", "is_new": False}
    tall |= {"joined": "2020-05-31"}
    short = tall | {"größe in cm": 150.0, "vip": False, "city": "Aachen"}
    assert answer_one(mixed, **tall)[0] > 0.8
    assert answer_one(mixed, **short)[0] < 0.2


def test_predictions_for_missing_and_unknown_values_are_between_the_extremes(mixed: Artifact) -> None:
    row = {"größe in cm": 171.0, "no.of.visits": 3, "vip": False, "is_new": False, "joined": "2020-05-31"}
    known = [answer_one(mixed, city=city, **row)[0] for city in ("Köln", "Bonn, am Rhein")]
    assert min(known) - 0.1 < answer_one(mixed, city="Paris", **row)[0] < max(known)
    assert 0 < answer_one(mixed, is_new=True, joined="2020-05-31")[0] < 1
    with pytest.raises(InvalidInput, match="'is_new' is missing"):
        answer_one(mixed, **{name: value for name, value in row.items() if name != "is_new"})


def test_serving_encodes_a_row_as_training_did(mixed: Artifact) -> None:
    frame = mixed_frame()
    given = [
        {
            column.name: None
            if pd.isna(value := frame.at[row, column.name])
            else (value == "yes" if column.name == "vip" else value.item() if isinstance(value, np.generic) else value)
            for column in mixed.card.inputs
        }
        for row in range(len(frame))
    ]
    answers = TabularModel.load(mixed).predict(RowEncoder(mixed.card).encode(given))
    profile = mixed.card.profile
    assert profile is not None
    predicted = profile.outputs["prediction"]
    assert isinstance(predicted, CategoryProfile)
    assert predicted.counts["ja"] == (answers.argmax(axis=1) == 0).sum()
    share = profile.outputs["probability of ja"]
    assert isinstance(share, NumericProfile)
    assert share.mean == pytest.approx(float(answers[:, 0].mean()), abs=1e-6)


def test_unknown_categories_are_refused_by_default(tabular_artifact: Artifact) -> None:
    row = {column.name: column.example for column in tabular_artifact.card.inputs}
    with pytest.raises(InvalidInput, match="'housing' has no category 'tent'; known: free, own, rent"):
        answer_one(tabular_artifact, **row | {"housing": "tent"})


def test_a_model_below_the_gate_is_not_saved(tmp_path: Path) -> None:
    options = Params(data=diabetes_csv(tmp_path), target="target", min_metric=0.99, folds=2)
    with pytest.raises(GateNotMet, match=r"r2 0\.\d+ on held-out rows is below 0\.99: not saved"):
        train(options, store=tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_a_graph_that_disagrees_is_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def of_another_model(fitted: TablePredictor) -> bytes:
        return onnx_graph.to_onnx(dataclasses.replace(fitted, scale=2 * fitted.scale))

    monkeypatch.setattr(train_module, "to_onnx", of_another_model)
    with pytest.raises(ParityNotMet, match="ONNX Runtime and the trained model differ by"):
        train(Params(data=diabetes_csv(tmp_path), target="target", folds=2), store=tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_a_disk_that_is_full_at_the_end_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(train_module, "write_report", full)
    with pytest.raises(OSError, match="No space left"):
        train(Params(data=diabetes_csv(tmp_path), target="target", folds=2), store=tmp_path / "models")
    assert list(tmp_path.rglob("models/*")) == []


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"target": None}, "--target, one of: age, sex, bmi, bp, s1, s2, s3, s4, s5, s6, target"),
        ({"target": "nope"}, "no column 'nope' to predict; known: age"),
        ({"drop": ("nope",)}, "no column 'nope' to drop"),
        ({"test_share": 0.9}, "--test-share 0.9"),
        ({"folds": 1}, "--folds 1"),
        ({"name": "My model", "data": Path("not read.csv")}, "'My model' is not a valid artifact name"),
        ({"data": Path("nowhere.csv")}, "no file 'nowhere.csv'"),
    ],
)
def test_invalid_options_are_refused(tmp_path: Path, options: dict[str, Any], fault: str) -> None:
    with pytest.raises((DataInvalid, ArtifactInvalid), match=fault):
        train(dataclasses.replace(Params(data=diabetes_csv(tmp_path), target="target"), **options), store=tmp_path)

"""From a file of texts to an artifact that answers as scikit-learn does, or to nothing at all."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.errors import ArtifactInvalid, DataInvalid, GateNotMet, ParityNotMet
from models.profile import CategoryProfile, NumericProfile
from models.store.artifacts import Artifact, verify
from models.text.classifier import TextClassifier
from models.text.weights import VOCABULARY_FILE, WEIGHTS_FILE, TextWeights
from tests.training.text.example_texts import sentences, sentences_csv
from training.text import train as train_module
from training.text.export import to_weights
from training.text.params import Params
from training.text.train import train


@pytest.fixture(scope="module")
def topics(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("topics")
    return train(options(folder), store=folder / "models")


def options(folder: Path, **changes: Any) -> Params:
    path = sentences_csv(folder)
    return dataclasses.replace(Params(data=path, text="message", target="topic", folds=2, name="topics"), **changes)


def test_topics_are_learnt_and_described_by_the_card(topics: Artifact) -> None:
    card = topics.card
    verify(topics)
    assert (card.name, card.task, card.classes) == ("topics", "text-classification", ("food", "sport", "weather"))
    assert next(iter(card.metrics)) == "f1_macro"
    assert card.metrics["accuracy"] > 0.95
    assert {"log_loss", "brier", "ece", "balanced_accuracy", "log_loss_uncalibrated"} <= set(card.metrics)
    (column,) = card.inputs
    assert (column.name, column.kind, column.required, column.nullable) == ("text", "text", True, False)
    assert column.example in set(sentences()["message"])
    assert card.outputs[0].categories == card.classes
    assert [each.name for each in card.outputs[1:]] == [f"probability of {name}" for name in card.classes]
    assert sum(card.slices[f"class={name}"]["support"] for name in card.classes) == 60
    assert sum(each.rows for each in card.calibration) == 60
    assert (card.params["rows_trained"], card.params["rows_tested"], card.params["target"]) == (240, 60, "topic")
    assert "football" in str(card.params["typical words of sport"])
    assert (card.data.name, card.data.rows) == ("messages.csv", 300)


def test_the_answers_agree_with_scikit_learn(topics: Artifact) -> None:
    parity = topics.card.parity
    assert parity is not None
    assert parity.rows == 60
    assert parity.max_difference <= 1e-5
    assert parity.top1_agreement == 1


def test_the_profile_is_of_the_held_out_rows(topics: Artifact) -> None:
    profile = topics.card.profile
    assert profile is not None
    assert profile.rows == 60
    assert set(profile.numeric) == {"text_length"}
    assert set(profile.outputs) == {column.name for column in topics.card.outputs}
    for entry in (*profile.numeric.values(), *profile.outputs.values()):
        counts = entry.counts.values() if isinstance(entry, CategoryProfile) else entry.counts
        assert sum(counts) + entry.missing == profile.rows
    assert isinstance(profile.outputs["prediction"], CategoryProfile)
    assert isinstance(profile.outputs["probability of food"], NumericProfile)


def test_the_report_is_part_of_the_artifact(topics: Artifact) -> None:
    report = (topics.folder / "report.md").read_text()
    for part in ("## Metrics", "| class=food |", "## Calibration", "cross-validation of", "typical words of weather"):
        assert part in report


def test_the_same_seed_makes_the_same_model(topics: Artifact, tmp_path: Path) -> None:
    again = train(options(tmp_path), store=tmp_path / "models")
    for file in (VOCABULARY_FILE, WEIGHTS_FILE):
        assert (again.folder / file).read_bytes() == (topics.folder / file).read_bytes()
    assert dataclasses.replace(again.card, created=topics.card.created) == topics.card


def test_two_classes_and_texts_without_accents_are_learnt(tmp_path: Path) -> None:
    frame = sentences().query("topic != 'weather'")
    frame.to_parquet(tmp_path / "two.parquet")
    params = Params(data=tmp_path / "two.parquet", text="message", target="topic", folds=2, accents="strip")
    artifact = train(params, store=tmp_path / "models")
    assert (artifact.name, artifact.card.classes) == ("text", ("food", "sport"))
    assert artifact.card.metrics["accuracy"] > 0.95
    assert artifact.card.parity is not None
    assert artifact.card.parity.max_difference <= 1e-5
    classifier = TextClassifier.load(artifact)
    with_accents, without = classifier.predict([{"text": "Crème brûlée im Café"}, {"text": "creme brulee im cafe"}])
    assert with_accents == without
    assert with_accents["probabilities"][0] > 0.7


def test_texts_of_a_script_without_words_are_learnt_by_their_characters(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    texts = ["".join(random.choice(list("▲△▴▵" if row % 2 else "●○◉◎"), 6)) for row in range(80)]
    pd.DataFrame({"t": texts, "c": [row % 2 for row in range(80)]}).to_csv(tmp_path / "signs.csv", index=False)
    artifact = train(Params(data=tmp_path / "signs.csv", text="t", target="c", folds=2), store=tmp_path / "models")
    assert artifact.card.algorithm.startswith("logistic regression on characters")
    assert artifact.card.metrics["accuracy"] == 1


def test_a_model_below_the_gate_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(GateNotMet, match=r"f1_macro [01]\.\d+ on held-out rows is below 1\.01: nothing was saved"):
        train(options(tmp_path, min_metric=1.01), store=tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_weights_that_answer_otherwise_are_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = to_weights

    def shifted(fitted: Any) -> TextWeights:
        weights = real(fitted)
        return dataclasses.replace(weights, intercept=weights.intercept + np.array([0, 0, 1], np.float32))

    monkeypatch.setattr(train_module, "to_weights", shifted)
    with pytest.raises(ParityNotMet, match="the answers of serving and scikit-learn differ by"):
        train(options(tmp_path), store=tmp_path / "models")
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"target": None}, "--data needs --text and --target, two of: message, topic, number"),
        ({"data": None}, "--text and --target need --data"),
        ({"text": "nope"}, "no column 'nope'"),
        ({"test_share": 0.9}, "--test-share 0.9"),
        ({"folds": 1}, "--folds 1"),
        ({"max_terms": 0}, "--max-terms 0"),
        ({"name": "My model"}, "'My model' is not a valid artifact name"),
        ({"data": Path("nowhere.csv")}, "no file 'nowhere.csv'"),
    ],
)
def test_options_that_cannot_work_are_refused(tmp_path: Path, changes: dict[str, Any], fault: str) -> None:
    with pytest.raises((DataInvalid, ArtifactInvalid), match=fault):
        train(options(tmp_path, **changes), store=tmp_path / "models")


def test_texts_that_have_nothing_in_common_are_refused(tmp_path: Path) -> None:
    texts = [chr(0x4E00 + row) for row in range(60)]
    pd.DataFrame({"t": texts, "c": [row % 2 for row in range(60)]}).to_csv(tmp_path / "apart.csv", index=False)
    with pytest.raises(DataInvalid, match="nothing can be learnt"):
        train(Params(data=tmp_path / "apart.csv", text="t", target="c"), store=tmp_path / "models")

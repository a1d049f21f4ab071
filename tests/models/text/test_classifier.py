"""The served text classifier: answers to any text, in any batch and thread, and the refusal of damaged artifacts."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from models.card import Card, Column
from models.errors import ArtifactInvalid, InvalidInput
from models.store.artifacts import Artifact, find
from models.store.saving import saving
from models.text.classifier import TextClassifier
from models.text.ngrams import NgramRange
from models.text.scorer import TextScorer
from models.text.weights import VOCABULARY_FILE, WEIGHTS_FILE, TermGroup, TextWeights, Vocabulary, write_weights
from tests.models.test_card import make_card

ROOT = Path(__file__).parent.parent.parent.parent

WEIGHTS = TextWeights(
    vocabulary=Vocabulary(
        (
            TermGroup(NgramRange("word", 1, 2), ("café", "rain", "rain today", "寿司")),
            TermGroup(NgramRange("char_wb", 1, 2), (" r", "r", "é", "🍕")),
        )
    ),
    idf=np.array([1.5, 2.0, 3.0, 2.5, 1.0, 1.25, 2.0, 4.0], np.float32),
    coefficients=np.random.default_rng(0).normal(0, 3, (8, 3)).astype(np.float32),
    intercept=np.array([0.5, -0.25, 0.0], np.float32),
)
TEXTS = ("Rain today", "café 🍕 寿司", "", "unknown words", "r" * 1000, "RAIN rain rain\ntoday\u2003é")


def card(**changes: object) -> Card:
    plain = dataclasses.replace(
        make_card("texts"),
        task="text-classification",
        classes=("a", "b", "c"),
        inputs=(Column("text", "text", example="rain today"),),
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]  # fields of the card


def save(store: Path, weights: TextWeights = WEIGHTS, card: Card = card()) -> Artifact:  # noqa: B008  (frozen)
    with saving(card, store=store, version="v1") as folder:
        write_weights(weights, folder)
    return find("texts:v1", store=store)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> TextClassifier:
    return TextClassifier.load(save(tmp_path_factory.mktemp("texts") / "models"))


def answers(classifier: TextClassifier, *texts: str) -> list[list[float]]:
    return [answer["probabilities"] for answer in classifier.predict([{"text": text} for text in texts])]


def test_a_text_is_scored_by_the_formula(classifier: TextClassifier) -> None:
    # Words "rain" twice and "rain today" once; characters " r" twice, "r" twice.
    words = np.array([(1 + np.log(2)) * 2.0, 3.0])
    characters = np.array([(1 + np.log(2)) * 1.0, (1 + np.log(2)) * 1.25])
    values = np.concatenate([words / np.linalg.norm(words), characters / np.linalg.norm(characters)])
    scores = values @ WEIGHTS.coefficients[[1, 2, 4, 5]] + WEIGHTS.intercept
    expected = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose(answers(classifier, "Rain! Rain today.")[0], expected, atol=1e-6)


def test_what_is_saved_answers_as_before(classifier: TextClassifier) -> None:
    assert answers(classifier, *TEXTS) == TextScorer(WEIGHTS).probabilities(TEXTS).tolist()


def test_answers_are_probabilities(classifier: TextClassifier) -> None:
    results = np.array(answers(classifier, *TEXTS))
    assert results.shape == (len(TEXTS), 3)
    assert ((results > 0) & (results < 1)).all()
    np.testing.assert_allclose(results.sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize("text", ["", "   \n\t ", "nothing known", "Ω≈ç√∫", "\x00", "\ud83c"])
def test_a_text_without_known_words_is_answered_from_the_intercept(classifier: TextClassifier, text: str) -> None:
    expected = np.exp(WEIGHTS.intercept) / np.exp(WEIGHTS.intercept).sum()
    unknown = text.replace("r", "")
    np.testing.assert_allclose(answers(classifier, unknown)[0], expected, atol=1e-6)


@pytest.mark.parametrize(("text", "same"), [("CAFÉ", "café"), ("🍕", "🍕🍕"), ("寿司", " 寿司\r\n")])
def test_case_space_and_script_do_not_matter(classifier: TextClassifier, text: str, same: str) -> None:
    first, second = answers(classifier, text, same)
    np.testing.assert_allclose(first, second, atol=1e-6)


def test_accents_matter_unless_they_are_stripped() -> None:
    rows = TextScorer(WEIGHTS).probabilities(["café", "cafe"])
    assert abs(rows[0] - rows[1]).max() > 0.01
    plain = dataclasses.replace(WEIGHTS.vocabulary.groups[0], terms=("cafe", "rain", "rain today", "寿司"))
    vocabulary = Vocabulary((plain, WEIGHTS.vocabulary.groups[1]), strip_accents=True)
    stripped = TextScorer(dataclasses.replace(WEIGHTS, vocabulary=vocabulary)).probabilities(["café", "cafe"])
    assert stripped[0].tolist() == stripped[1].tolist()


@pytest.mark.parametrize("text", ["rain today " * 100_000, "r" * 1_000_000], ids=["words", "one word"])
def test_a_very_long_text_is_answered(classifier: TextClassifier, text: str) -> None:
    (results,) = answers(classifier, text)
    assert sum(results) == pytest.approx(1)


def test_a_text_has_the_same_answer_alone_and_in_any_batch(classifier: TextClassifier) -> None:
    many = list(TEXTS) * 400
    alone = [answers(classifier, text)[0] for text in TEXTS]
    assert answers(classifier, *many) == alone * 400


def test_threads_get_their_own_answers(classifier: TextClassifier) -> None:
    expected = answers(classifier, *TEXTS)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda number: answers(classifier, TEXTS[number % len(TEXTS)])[0], range(600)))
    assert results == expected * 100


def test_two_classes_have_one_score(tmp_path: Path) -> None:
    weights = dataclasses.replace(WEIGHTS, coefficients=WEIGHTS.coefficients[:, :1], intercept=WEIGHTS.intercept[:1])
    classifier = TextClassifier.load(save(tmp_path / "models", weights, card(classes=("no", "yes"))))
    first, second = answers(classifier, "nothing known")[0]
    assert second == pytest.approx(1 / (1 + np.exp(-0.5)))
    assert first == pytest.approx(1 - second)


def test_its_example_is_a_row_it_answers(classifier: TextClassifier) -> None:
    assert classifier.example() == [{"text": "rain today"}]
    assert len(classifier.predict(classifier.example())) == 1


@pytest.mark.parametrize(
    ("row", "fault"),
    [({}, "'text' is missing"), ({"text": None}, "'text' is missing"), ({"text": 3}, "'text' has to be text")],
)
def test_a_row_without_a_text_is_refused(classifier: TextClassifier, row: dict[str, object], fault: str) -> None:
    with pytest.raises(InvalidInput, match=fault) as caught:
        classifier.predict([{"text": "fine"}, row])
    assert caught.value.location == (1, "text")


def test_no_rows_are_refused(classifier: TextClassifier) -> None:
    with pytest.raises(InvalidInput, match="no rows"):
        classifier.predict([])


def test_an_artifact_of_another_task_is_refused(classifier: TextClassifier) -> None:
    other = dataclasses.replace(classifier.artifact, card=card(task="tabular-classification"))
    with pytest.raises(ArtifactInvalid, match="of task 'tabular-classification', not a text classifier"):
        TextClassifier.load(other)


def test_a_card_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactInvalid, match=r"'coefficients' is float32 \(8, 3\), expected float32 \(8, 4\)"):
        TextClassifier.load(save(tmp_path / "models", WEIGHTS, card(classes=("a", "b", "c", "d"))))
    with pytest.raises(ArtifactInvalid, match="must have one input, 'text'"):
        TextClassifier.load(save(tmp_path / "other", WEIGHTS, card(inputs=())))


@pytest.mark.parametrize("file", [VOCABULARY_FILE, WEIGHTS_FILE])
@pytest.mark.parametrize("content", [b"", b"{}", b"not a file of weights", b"\xff" * 100])
def test_a_damaged_file_is_refused(tmp_path: Path, file: str, content: bytes) -> None:
    artifact = save(tmp_path / "models")
    (artifact.folder / file).write_bytes(content)
    with pytest.raises(ArtifactInvalid, match="the weights of artifact 'texts:v1' cannot be read"):
        TextClassifier.load(artifact)


def test_files_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    artifact = save(tmp_path / "models")
    vocabulary = json.loads((artifact.folder / VOCABULARY_FILE).read_text())
    vocabulary["groups"][0]["terms"][0] = "rain"
    (artifact.folder / VOCABULARY_FILE).write_text(json.dumps(vocabulary))
    with pytest.raises(ArtifactInvalid, match="a term occurs twice"):
        TextClassifier.load(artifact)
    arrays = load_file(artifact.folder / WEIGHTS_FILE)
    save_file(arrays | {"idf": np.full(8, np.nan, np.float32)}, artifact.folder / WEIGHTS_FILE)
    with pytest.raises(ArtifactInvalid, match="'idf' holds NaN or infinity"):
        TextClassifier.load(artifact)


def test_serving_imports_no_training_library() -> None:
    code = "import sys, models.text.classifier; print(sorted({'sklearn', 'pandas', 'pyarrow'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"

"""The card of a text classifier: its input and outputs, metrics, parity, and the profile for measuring drift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from models.card import Card, Column, Parity, Scalar
from models.profile import CategoryProfile, NumericProfile, Profile
from models.text.classifier import TASK, TEXT
from models.text.weights import TextWeights
from training.calibration import calibration
from training.class_metrics import by_class
from training.histograms import numeric_profile
from training.report import library_versions
from training.text.choice import METRIC, Choice
from training.text.corpus import Corpus
from training.text.evaluation import Answers, length_slices, scores
from training.text.params import Params
from training.text.recipe import RECIPE

PREDICTION = "prediction"
TEXT_LENGTH = "text_length"

_EXAMPLE_CHARACTERS = 200
_TYPICAL_WORDS = 8
_MAX_DESCRIBED_CLASSES = 30


@dataclass(frozen=True, slots=True)
class Measured:
    """The held-out texts, the number of the true class of each, and the answers, before calibration and served."""

    texts: tuple[str, ...]
    values: NDArray[np.int64]
    uncalibrated: Answers
    answers: Answers

    def metrics(self) -> dict[str, float]:
        """Return all metrics of the held-out rows."""
        before = scores(self.values, self.uncalibrated)
        return scores(self.values, self.answers) | {
            f"{name}_uncalibrated": before[name] for name in ("log_loss", "brier", "ece")
        }


def make_card(
    params: Params, corpus: Corpus, choice: Choice, weights: TextWeights, measured: Measured, parity: Parity
) -> Card:
    """Return the card of one training run."""
    classes = corpus.classes
    outputs = _outputs(corpus.target, classes)
    some = ", ".join(classes[:10]) + (f" and {len(classes) - 10} more" if len(classes) > 10 else "")
    return Card(
        name=params.name,
        task=TASK,
        algorithm=choice.best.name,
        created=datetime.now(UTC),
        inputs=(
            Column(
                TEXT, "text", description=f"text to classify by {corpus.target}", example=example_text(corpus.texts)
            ),
        ),
        outputs=outputs,
        metrics=measured.metrics(),
        data=corpus.source,
        classes=classes,
        description=f"Classifies texts by '{corpus.target}' ({some}). Trained on {corpus.source.name}; metrics are of "
        f"{len(measured.texts):,} held-out rows.",
        slices=length_slices(measured.texts, measured.values, measured.answers)
        | by_class(measured.answers, measured.values, classes),
        params=_parameters(params, corpus, choice, weights, measured),
        libraries=library_versions("scikit-learn", "numpy", "scipy", "safetensors", "pyarrow"),
        parity=parity,
        profile=text_profile(outputs, measured.texts, measured.answers),
        calibration=calibration(measured.values, measured.answers),
    )


def _outputs(target: str, classes: Sequence[str]) -> tuple[Column, ...]:
    likeliest = Column(PREDICTION, "category", description=f"likeliest '{target}'", categories=tuple(classes))
    shares = [
        Column(f"probability of {name}", "number", description="calibrated", minimum=0.0, maximum=1.0)
        for name in classes
    ]
    return (likeliest, *shares)


def example_text(texts: Sequence[str]) -> str:
    """Return a text of middling length, cut to a few words where all are long."""
    lengths = np.array([len(text) for text in texts])
    text = texts[int(np.argmin(np.abs(lengths - np.median(lengths))))].strip()
    return text if len(text) <= _EXAMPLE_CHARACTERS else text[:_EXAMPLE_CHARACTERS].rsplit(maxsplit=1)[0]


def text_profile(outputs: Sequence[Column], texts: Sequence[str], answers: Answers) -> Profile:
    """Return the profile of the held-out rows: a model of many terms is surer of the rows that it was trained on."""
    lengths = np.array([len(text) for text in texts])
    counts = np.bincount(answers.argmax(axis=1), minlength=answers.shape[1]).tolist()
    answered: dict[str, NumericProfile | CategoryProfile] = {
        PREDICTION: CategoryProfile(dict(zip(outputs[0].categories, counts, strict=True)))
    }
    for position, column in enumerate(outputs[1:]):
        answered[column.name] = numeric_profile(answers[:, position], limits=(0.0, 1.0))
    return Profile(rows=len(texts), numeric={TEXT_LENGTH: numeric_profile(lengths)}, outputs=answered)


def _parameters(
    params: Params, corpus: Corpus, choice: Choice, weights: TextWeights, measured: Measured
) -> dict[str, Scalar]:
    given: dict[str, Scalar] = {
        name: value for name, value in asdict(params).items() if name not in ("data", "name", "promote")
    }
    given |= {
        **RECIPE.card_parameters(),
        "target": corpus.target,
        "chosen_by": METRIC,
        "terms": weights.vocabulary.size,
    }
    given |= {"rows_trained": len(corpus.texts) - len(measured.texts), "rows_tested": len(measured.texts)}
    for name, (mean, deviation) in choice.scores.items():
        given[f"cross-validation of {name}"] = f"{mean:.4f} ± {deviation:.4f}"
    return given | _typical_words(corpus.classes, weights)


def _typical_words(classes: Sequence[str], weights: TextWeights) -> dict[str, Scalar]:
    """Return the words and pairs of words that speak most for each class, for the report."""
    words = next((group.terms for group in weights.vocabulary.groups if group.ngrams.unit == "word"), ())
    coefficients = weights.coefficients[: len(words)]
    if coefficients.shape[1] == 1:
        coefficients = np.hstack([-coefficients, coefficients])
    described = enumerate(classes[:_MAX_DESCRIBED_CLASSES] if words else ())
    return {
        f"typical words of {name}": ", ".join(words[i] for i in np.argsort(-coefficients[:, k])[:_TYPICAL_WORDS])
        for k, name in described
    }

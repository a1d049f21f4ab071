"""Saving of a fitted pipeline that classifies texts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.card import Card, Column, DataSource, Metrics, Parity
from models.errors import ParityNotMet
from models.store.artifacts import Artifact
from models.text.classifier import TASK, TEXT, TextClassifier
from models.text.scorer import TextScorer
from models.text.weights import TextWeights, write_weights
from training.calibration import calibration
from training.class_metrics import by_class
from training.fitted.answers import Answers, Estimator, ask
from training.fitted.estimators import algorithm_of
from training.fitted.options import SaveOptions
from training.fitted.refusal import WAY_OUT
from training.fitted.sklearn_onnx import unwrapped
from training.fitted.tables import MAX_DIFFERENCE, Agreement, check_gate, fingerprint
from training.fitted.targets import class_numbers, target_names, true_values
from training.fitted.text_weights import no_probabilities, text_weights
from training.promotion import saving_version
from training.report import library_versions, print_summary, write_report
from training.text.card import example_text, text_profile
from training.text.evaluation import length_slices, scores

# Pairs of texts that are also compared, joined.
_PAIRS = 200


def save_texts(model: Estimator, texts: Sequence[str], y: Any, options: SaveOptions) -> Artifact:
    """Save a fitted pipeline. Raises DataInvalid, NotConvertible, ParityNotMet or GateNotMet."""
    model = unwrapped(model)
    truth = true_values(y, rows=len(texts))
    if not hasattr(model, "predict_proba"):
        raise no_probabilities(model)
    answers = ask(model, list(texts), classes=options.classes, targets=target_names(y))
    weights = text_weights(model)
    agreement = _compare(model, weights, texts, answers)
    if not agreement.is_close:
        difference = f"{agreement.difference:.1e} on texts like the given ones, more than {MAX_DIFFERENCE:.0e}"
        raise ParityNotMet(f"serving and {algorithm_of(model)} differ by {difference}: not saved; {WAY_OUT}")
    card = _card(model, texts, truth, answers, agreement, options)
    check_gate(card, options)
    with saving_version(card, is_forced=options.promote, store=options.store) as saved:
        write_weights(weights, saved.folder)
        write_report(card, saved.folder)
        TextClassifier.load(Artifact(card.name, saved.folder.name, saved.folder, card))
    artifact = saved.artifact
    print_summary(artifact.card, tag=artifact.tag, folder=artifact.folder)
    return artifact


def _compare(model: Estimator, weights: TextWeights, texts: Sequence[str], answers: Answers) -> Agreement:
    scorer = TextScorer(weights)
    joined = [f"{first} {second}" for first, second in pairwise(texts[: _PAIRS + 1])]
    expected = answers.values
    if joined:
        expected = np.concatenate([expected, np.asarray(model.predict_proba(joined), np.float64)])
    served = scorer.probabilities([*texts, *joined])
    same = float((served.argmax(axis=1) == expected.argmax(axis=1)).mean())
    return Agreement(float(np.abs(served - expected).max()), len(served), same)


def _card(
    model: Estimator,
    texts: Sequence[str],
    truth: NDArray[Any] | None,
    answers: Answers,
    agreement: Agreement,
    options: SaveOptions,
) -> Card:
    numbers = None if truth is None else class_numbers(truth[:, 0], answers.classes, answers.labels)
    metrics, slices = _measure(texts, numbers, answers)
    versions = library_versions("scikit-learn", "numpy", "scipy", "safetensors")
    algorithm = algorithm_of(model)
    measured = f"metrics are of the {len(texts):,} texts given to save()" if metrics else "not measured"
    content = "\0".join(texts).encode("utf-8", "surrogatepass")
    labels = b"" if truth is None else repr(truth.tolist()).encode()
    return Card(
        name=options.name,
        task=TASK,
        algorithm=algorithm,
        created=datetime.now(UTC),
        inputs=(Column(TEXT, "text", description="text to classify", example=example_text(texts)),),
        outputs=answers.outputs,
        metrics=metrics,
        data=DataSource("texts given to save()", fingerprint(content, labels), len(texts)),
        classes=answers.classes,
        description=options.description or f"{algorithm} over texts; {measured}.",
        slices=slices,
        params={"saved_by": "save", "min_metric": options.min_metric},
        libraries=versions,
        parity=Parity(
            reference=f"scikit-learn {versions['scikit-learn']}",
            runtime=f"numpy {versions['numpy']} and scipy {versions['scipy']}",
            rows=agreement.rows,
            max_difference=agreement.difference,
            top1_agreement=agreement.top1,
        ),
        profile=text_profile(answers.outputs, texts, answers.values),
        calibration=() if numbers is None else calibration(numbers, answers.values),
    )


def _measure(
    texts: Sequence[str], numbers: NDArray[np.int64] | None, answers: Answers
) -> tuple[dict[str, float], dict[str, Metrics]]:
    if numbers is None:
        return {}, {}
    slices = length_slices(texts, numbers, answers.values) | by_class(answers.values, numbers, answers.classes)
    return scores(numbers, answers.values), slices

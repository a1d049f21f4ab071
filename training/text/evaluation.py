"""Evaluate a text classifier on held-out rows: metrics overall and by length of the text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss

from models.card import Metrics
from training.calibration import calibration_scores

Values = NDArray[np.int64]
Answers = NDArray[np.float64]

MIN_SLICE_ROWS = 20


def scores(values: Values, answers: Answers) -> dict[str, float]:
    """Return all metrics of probabilities (N, K). The quality gate checks the first one, macro F1."""
    likeliest, labels = answers.argmax(axis=1), np.arange(answers.shape[1])
    return {
        "f1_macro": float(f1_score(values, likeliest, average="macro", labels=labels, zero_division=0.0)),
        "accuracy": float(accuracy_score(values, likeliest)),
        "accuracy_of_the_commonest_class": float(np.bincount(values).max() / len(values)),
        "balanced_accuracy": float(balanced_accuracy_score(values, likeliest)),
        "log_loss": float(log_loss(values, answers, labels=labels)),
        **calibration_scores(values, answers),
    }


def length_slices(texts: Sequence[str], values: Values, answers: Answers) -> dict[str, Metrics]:
    """Return rows and accuracy by the quarters of the distribution of the texts' lengths in characters."""
    lengths = np.array([len(text) for text in texts])
    edges = np.unique(np.quantile(lengths, [0, 0.25, 0.5, 0.75, 1], method="nearest")).tolist()
    slices: dict[str, Metrics] = {}
    for lower, upper in pairwise(edges):
        is_last = upper == edges[-1]
        inside = (lengths >= lower) & ((lengths <= upper) if is_last else (lengths < upper))
        if inside.sum() >= MIN_SLICE_ROWS:
            label = f"text_length={lower} to {'' if is_last else 'under '}{upper}"
            right = answers[inside].argmax(axis=1) == values[inside]
            slices[label] = {"rows": float(inside.sum()), "accuracy": float(right.mean())}
    return slices

"""How good a classifier is at each of its classes. Knows probabilities and true classes, no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.card import Metrics


def by_class(answers: NDArray[np.floating[Any]], of: NDArray[np.int64], classes: Sequence[str]) -> dict[str, Metrics]:
    """A slice for each class, from probabilities (N, C) and the index of each row's true class (N).

    `recall` is the share of its rows that are called so, `precision` the share of those called so that are, `f1` their
    harmonic mean, `support` the number of its rows. A share of nothing is 0, as scikit-learn's `zero_division` has it.
    """
    counts = confusion(answers, of)
    right, support, called = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    recall, precision = right / np.maximum(1, support), right / np.maximum(1, called)
    f1 = 2 * right / np.maximum(1, support + called)
    return {
        f"class={name}": {
            "precision": float(precision[index]),
            "recall": float(recall[index]),
            "f1": float(f1[index]),
            "support": float(support[index]),
        }
        for index, name in enumerate(classes)
    }


def confusion(answers: NDArray[np.floating[Any]], of: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts (C, C): row i, column j is how many rows of class i were called j."""
    classes = answers.shape[1]
    counts = np.bincount(of * classes + answers.argmax(1), minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)

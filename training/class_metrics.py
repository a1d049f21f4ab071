"""Metrics of a classifier for each of its classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from models.card import Metrics


def by_class(answers: NDArray[np.floating[Any]], of: NDArray[np.int64], classes: Sequence[str]) -> dict[str, Metrics]:
    """Return precision, recall, F1 and support of each class.

    `answers` are probabilities (N, C), `of` is the index of each row's true class (N). A metric without rows is 0.
    """
    precision, recall, f1, support = precision_recall_fscore_support(
        of, answers.argmax(1), labels=np.arange(len(classes)), zero_division=0.0
    )
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
    """Return counts (C, C): the cell in row i and column j counts rows of class i that are predicted as class j."""
    counts: NDArray[np.int64] = confusion_matrix(of, answers.argmax(1), labels=np.arange(answers.shape[1]))
    return counts

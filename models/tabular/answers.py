"""What a tabular model answers for one row: how many numbers, and what they have to be, by the task of its card.

task                       numbers of one row                                        outputs of the card
tabular-classification     the probability of each class                             "prediction", then probabilities
tabular-regression         the estimate                                              "prediction"
tabular-multi-class        the probabilities of the classes of each target in turn   a category for each target
tabular-multi-regression   the estimate of each target                               a number for each target
tabular-clustering         the distance to the centre of each cluster                "prediction", then distances
tabular-outliers           the score; below 0 the row is an outlier                  "prediction", "score"
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from models.card import Card, Column, Task

CLASSIFICATION: Task = "tabular-classification"
REGRESSION: Task = "tabular-regression"
MULTI_CLASS: Task = "tabular-multi-class"
MULTI_REGRESSION: Task = "tabular-multi-regression"
CLUSTERING: Task = "tabular-clustering"
OUTLIERS: Task = "tabular-outliers"

TASKS = (CLASSIFICATION, REGRESSION, MULTI_CLASS, MULTI_REGRESSION, CLUSTERING, OUTLIERS)

# Of the sum of probabilities, for each class: they are float32.
_TOLERANCE = 1e-4


def answer_parts(card: Card) -> tuple[slice, ...]:
    """Return the numbers of one row that belong together: those of each target, or all of them."""
    return parts_of(card.task, card.outputs, card.classes)


def parts_of(task: Task, outputs: Sequence[Column], classes: Sequence[str]) -> tuple[slice, ...]:
    """Return what `answer_parts` does, for a card with these fields."""
    widths = {
        CLASSIFICATION: [max(len(classes), 1)],
        MULTI_CLASS: [len(column.categories) for column in outputs],
        MULTI_REGRESSION: [1] * len(outputs),
        CLUSTERING: [len(outputs) - 1],
    }.get(task, [1])
    return tuple(slice(start, end) for start, end in pairwise(accumulate(widths, initial=0)))


def answer_width(card: Card) -> int:
    """Return how many numbers the model answers for a row."""
    parts = answer_parts(card)
    return parts[-1].stop if parts else 0


def answer_fault(card: Card, answers: NDArray[np.generic]) -> str:
    """Return what is wrong with the answers (N, W) of a model of `card`, or an empty text."""
    expected = (len(answers), answer_width(card))
    if answers.shape != expected:
        return f"has the shape {answers.shape}; expected: {expected}"
    numbers = answers.astype(np.float64)
    if not np.isfinite(numbers).all():
        return "is not finite"
    if card.task not in (CLASSIFICATION, MULTI_CLASS):
        return ""
    for part in answer_parts(card):
        shares = numbers[:, part]
        tolerance = shares.shape[1] * _TOLERANCE
        if shares.min() < -_TOLERANCE or (np.abs(shares.sum(axis=1) - 1.0) > tolerance).any():
            return "is not a distribution of probabilities: they must be in 0 to 1, and their sum 1"
    return ""

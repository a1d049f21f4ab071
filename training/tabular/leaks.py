"""Warnings of inputs that tell the target: a copy of it, a column that alone decides it, a nearly unique category."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from training.tabular.boosting import Values
from training.tabular.columns import Inputs
from training.tabular.target import Target

_ROWS = 20_000
# Of the area under the ROC curve, and of R².
_DECIDES = 0.999
_FOLDS = 5
_NEARLY_UNIQUE = 0.9
_MIN_CATEGORIES = 50


def leaks(inputs: Inputs, target: Target, *, seed: int) -> list[str]:
    """Return a warning for each input that may not be known when the model is asked. At most 20,000 rows are read."""
    random = np.random.default_rng(seed)
    places = random.permutation(len(target.values))[:_ROWS]
    values = target.values[places]
    warnings = []
    for column, part in zip(inputs.columns, inputs.parts, strict=True):
        if column.kind == "text":
            continue
        cells = inputs.rows[places, part.start]
        if _is_copy(cells, values):
            warnings.append(f"column '{column.name}' is a copy of the target: leave it out with --drop '{column.name}'")
        elif column.kind == "category" and _is_nearly_unique(cells):
            warnings.append(f"column '{column.name}' has a different value in nearly every row: it may be an id")
        elif any(score >= _DECIDES for score in _scores(cells, values, is_category=column.kind == "category")):
            warnings.append(
                f"column '{column.name}' alone decides the target: check that it is known when the model is asked, "
                f"or leave it out with --drop '{column.name}'"
            )
    return warnings


def _is_copy(cells: NDArray[np.float64], values: Values) -> bool:
    """Return whether the input equals the target, or each of its values belongs to one value of the target only."""
    distinct = len(np.unique(values))
    if np.isnan(cells).any() or distinct > len(values) / 2:
        return bool(np.array_equal(cells, values))
    pairs = len(np.unique(np.column_stack([cells, values]), axis=0))
    return distinct > 1 and pairs == distinct == len(np.unique(cells))


def _is_nearly_unique(cells: NDArray[np.float64]) -> bool:
    distinct = len(np.unique(cells))
    return distinct >= _MIN_CATEGORIES and distinct >= _NEARLY_UNIQUE * len(cells)


def _scores(cells: NDArray[np.float64], values: Values, *, is_category: bool) -> Iterator[float]:
    """Yield how well one input predicts each class, or the numbers."""
    if values.dtype.kind != "i":
        numbers = _means(cells, values.astype(np.float64)) if is_category else cells
        present = np.isfinite(numbers)
        if present.sum() > 2 and np.ptp(numbers[present]) > 0 and np.ptp(values[present]) > 0:
            yield float(np.corrcoef(numbers[present], values[present])[0, 1] ** 2)
        return
    for label in np.unique(values):
        is_label = (values == label).astype(np.float64)
        numbers = _means(cells, is_label) if is_category else np.nan_to_num(cells, nan=-np.inf)
        if 1 < is_label.sum() < len(values) - 1:
            score = float(roc_auc_score(is_label, np.clip(numbers, -1e300, 1e300)))
            yield max(score, 1 - score)


def _means(codes: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each row the mean of the values of its category in the other folds."""
    means = np.empty(len(values))
    folds = np.arange(len(values)) % _FOLDS
    places = codes.astype(np.int64) - int(codes.min())
    for fold in range(_FOLDS):
        inside = folds == fold
        counts = np.bincount(places[~inside], minlength=places.max() + 1)
        sums = np.bincount(places[~inside], values[~inside], minlength=places.max() + 1)
        average = (sums + values.mean()) / (counts + 1)
        means[inside] = average[places[inside]]
    return means

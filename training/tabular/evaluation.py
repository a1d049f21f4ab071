"""How good a tabular model is on rows it has not seen: overall, by slice, by probability, by input.

Knows true values and answers, never the model that made them (except to shuffle its inputs).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    mean_absolute_error,
    median_absolute_error,
    root_mean_squared_error,
)

from models.card import CalibrationBin, Column, Metrics
from models.tabular.row_encoder import MISSING, NONE_OF_THESE
from training.tabular.pipelines import Values, main_score

Answers = NDArray[np.float64]

CALIBRATION_BINS = 10
# A slice with fewer held-out rows says nothing.
MIN_SLICE_ROWS = 20
_MAX_SLICES_PER_COLUMN = 20
_FEW_VALUES = 6
_IMPORTANCE_ROWS = 2_000
_IMPORTANCE_REPEATS = 5


def scores(values: Values, answers: Answers) -> dict[str, float]:
    """All metrics of probabilities (N, K) or estimates (N, 1). The first one is the one that the gate looks at."""
    return _regression_scores(values, answers[:, 0]) if answers.shape[1] == 1 else _class_scores(values, answers)


def calibration(values: Values, answers: Answers) -> tuple[CalibrationBin, ...]:
    """Reliability of probabilities (N, K >= 2) in bins of equal width; bins without rows are left out."""
    predicted, came_true = _claims(values, answers)
    positions = np.minimum((predicted * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    return tuple(
        CalibrationBin(
            lower=position / CALIBRATION_BINS,
            upper=(position + 1) / CALIBRATION_BINS,
            rows=int((positions == position).sum()),
            mean_probability=float(predicted[positions == position].mean()),
            observed_share=float(came_true[positions == position].mean()),
        )
        for position in np.unique(positions).tolist()
    )


def calibration_scores(values: Values, answers: Answers) -> dict[str, float]:
    """Brier score and expected calibration error of probabilities (N, K >= 2).

    For two classes both are about the second one; for more, Brier is summed over all classes and the error is about
    the likeliest. Sources: Brier 1950; Guo et al. 2017, "On calibration of modern neural networks".
    """
    truth = np.eye(answers.shape[1])[values.astype(int)]
    squares = (answers[:, 1] - truth[:, 1]) ** 2 if answers.shape[1] == 2 else ((answers - truth) ** 2).sum(axis=1)
    error = sum(
        found.rows * abs(found.mean_probability - found.observed_share) for found in calibration(values, answers)
    )
    return {"brier": float(squares.mean()), "ece": float(error / len(values))}


def slice_scores(
    columns: Sequence[Column], rows: NDArray[np.float32], values: Values, answers: Answers
) -> dict[str, Metrics]:
    """Metrics by the values of every category and boolean, and by the quarters of every number's distribution."""
    found: dict[str, Metrics] = {}
    for position, column in enumerate(columns):
        for label, inside in _slices(column, rows[:, position]):
            if inside.sum() >= MIN_SLICE_ROWS:
                found[f"{column.name}={label}"] = _slice(values[inside], answers[inside])
    return found


def importance(
    predict: Callable[[NDArray[np.float32]], Answers],
    columns: Sequence[Column],
    rows: NDArray[np.float32],
    values: Values,
    *,
    seed: int,
) -> dict[str, float]:
    """Mean fall of the main metric over shufflings of one column, greatest first. Source: Breiman 2001."""
    random = np.random.default_rng(seed)
    if len(rows) > _IMPORTANCE_ROWS:
        some = random.choice(len(rows), _IMPORTANCE_ROWS, replace=False)
        if values.dtype.kind != "i" or len(np.unique(values[some])) == len(np.unique(values)):
            rows, values = rows[some], values[some]
    best = main_score(values, predict(rows))
    falls = {}
    for position, column in enumerate(columns):
        shuffled_scores = []
        for _ in range(_IMPORTANCE_REPEATS):
            shuffled = rows.copy()
            shuffled[:, position] = random.permutation(shuffled[:, position])
            shuffled_scores.append(main_score(values, predict(shuffled)))
        falls[column.name] = best - float(np.mean(shuffled_scores))
    return dict(sorted(falls.items(), key=lambda item: -item[1]))


def _class_scores(values: Values, answers: Answers) -> dict[str, float]:
    likeliest, labels = answers.argmax(axis=1), np.arange(answers.shape[1])
    found = {"roc_auc": main_score(values, answers)}
    if answers.shape[1] == 2:
        found["average_precision"] = float(average_precision_score(values, answers[:, 1]))
    found |= {
        "accuracy": float(accuracy_score(values, likeliest)),
        "accuracy_of_the_commonest_class": float(np.bincount(values.astype(int)).max() / len(values)),
        "balanced_accuracy": float(balanced_accuracy_score(values, likeliest)),
        "f1_macro": float(f1_score(values, likeliest, average="macro", labels=labels, zero_division=0.0)),
        "log_loss": float(log_loss(values, answers, labels=labels)),
    }
    return found | calibration_scores(values, answers)


def _regression_scores(values: Values, answers: NDArray[np.float64]) -> dict[str, float]:
    return {
        "r2": main_score(values, answers[:, None]),
        "rmse": float(root_mean_squared_error(values, answers)),
        "mae": float(mean_absolute_error(values, answers)),
        "median_absolute_error": float(median_absolute_error(values, answers)),
        "rmse_of_the_mean": float(np.std(values)),
    }


def _slice(values: Values, answers: Answers) -> dict[str, float]:
    found = {"rows": float(len(values))}
    if answers.shape[1] == 1:
        errors = answers[:, 0] - values
        return found | {"rmse": float(np.sqrt((errors**2).mean())), "bias": float(errors.mean())}
    found["accuracy"] = float(accuracy_score(values, answers.argmax(axis=1)))
    if answers.shape[1] == 2:
        found["share_true"] = float((values == 1).mean())
        found["mean_probability"] = float(answers[:, 1].mean())
        if len(np.unique(values)) == 2:
            found["roc_auc"] = main_score(values, answers)
    return found


def _slices(column: Column, numbers: NDArray[np.float32]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    if column.kind == "category":
        codes, counts = np.unique(numbers.astype(int), return_counts=True)
        for code in codes[np.argsort(-counts, kind="stable")][:_MAX_SLICES_PER_COLUMN].tolist():
            yield (
                {MISSING: "(missing)", NONE_OF_THESE: "(none of these)"}.get(code) or column.categories[code],
                numbers == code,
            )
        return
    missing = np.isnan(numbers)
    yield "(missing)", missing
    if column.kind == "boolean":
        yield "false", numbers == 0
        yield "true", numbers == 1
        return
    present = numbers[~missing]
    distinct = np.unique(present).tolist()
    if len(distinct) <= _FEW_VALUES:
        yield from ((f"{value:g}", numbers == value) for value in distinct)
        return
    edges = np.unique(np.quantile(present, [0, 0.25, 0.5, 0.75, 1], method="nearest"))
    for lower, upper in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        is_last = upper == edges[-1]
        inside = (numbers >= lower) & ((numbers <= upper) if is_last else (numbers < upper))
        yield f"{lower:g} to {upper:g}" if is_last else f"{lower:g} to under {upper:g}", inside


def _claims(values: Values, answers: Answers) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """What was claimed with which probability, and whether it came true."""
    if answers.shape[1] == 2:
        return answers[:, 1], values == 1
    likeliest = answers.argmax(axis=1)
    return answers[np.arange(len(values)), likeliest], values == likeliest

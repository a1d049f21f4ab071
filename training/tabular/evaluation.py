"""Evaluate a tabular model on held-out rows: metrics overall and by slice, calibration, and importance of inputs.

Most metrics are scikit-learn's. Permutation importance is written here, because `permutation_importance` needs an
estimator and not a function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
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

from models.card import Column, Metrics
from models.tabular.row_encoder import MISSING, NONE_OF_THESE, RowEncoder
from training.calibration import calibration_scores
from training.report import MAX_SLICED_INPUTS, console
from training.tabular.boosting import Values
from training.tabular.choice import main_score

Answers = NDArray[np.float64]

# Slices with fewer held-out rows are too noisy to report.
MIN_SLICE_ROWS = 20
_MAX_SLICES_PER_COLUMN = 20
_FEW_VALUES = 6
_IMPORTANCE_ROWS = 2_000
_IMPORTANCE_REPEATS = 5
_IMPORTANCE_COLUMNS = 300
_IMPORTANCE_PREDICTIONS = 2_000
# Of one prediction.
_IMPORTANCE_CELLS = 4_000_000


def scores(values: Values, answers: Answers) -> dict[str, float]:
    """Return all metrics of probabilities (N, K) or estimates (N, 1). The quality gate checks the first one."""
    return _regression_scores(values, answers[:, 0]) if answers.shape[1] == 1 else _class_scores(values, answers)


def slice_scores(
    columns: Sequence[Column],
    rows: NDArray[np.float64],
    values: Values,
    answers: Answers,
    *,
    importance: Mapping[str, float] | None = None,
) -> dict[str, Metrics]:
    """Return metrics by value of each category and boolean, and by quartile of each number.

    Of a wide table only the 100 columns with the largest `importance` are sliced.
    """
    metrics: dict[str, Metrics] = {}
    sliced = {column.name for column in columns}
    if importance is not None:
        sliced &= set(sorted(importance, key=lambda name: -importance[name])[:MAX_SLICED_INPUTS])
    for column, part in zip(columns, RowEncoder.for_columns(columns).parts, strict=True):
        if column.kind in ("date", "text") or column.name not in sliced:
            continue
        for label, inside in _slices(column, rows[:, part.start]):
            if inside.sum() >= MIN_SLICE_ROWS:
                metrics[f"{column.name}={label}"] = _slice(values[inside], answers[inside])
    return metrics


def importance(
    predict: Callable[[NDArray[np.float64]], Answers],
    columns: Sequence[Column],
    rows: NDArray[np.float64],
    values: Values,
    *,
    seed: int,
    gains: Mapping[int, float] | None = None,
) -> dict[str, float]:
    """Return the mean drop of the main metric when one column is shuffled, largest first. Source: Breiman 2001.

    In a wide table only the columns with the largest `gains` are measured, which are by encoded column, and with fewer
    repeats. Several shuffled columns are predicted together.
    """
    random = np.random.default_rng(seed)
    parts = RowEncoder.for_columns(columns).parts
    repeats = max(1, min(_IMPORTANCE_REPEATS, _IMPORTANCE_PREDICTIONS // len(columns)))
    if len(rows) > _IMPORTANCE_ROWS:
        sample = random.choice(len(rows), _IMPORTANCE_ROWS, replace=False)
        if values.dtype.kind != "i" or len(np.unique(values[sample])) == len(np.unique(values)):
            rows, values = rows[sample], values[sample]
    best = main_score(values, predict(rows))
    measured = _most_gain(parts, gains or {})
    shuffles = [place for place in measured for _ in range(repeats)]
    at_once = max(1, _IMPORTANCE_CELLS // rows.size)
    drops = np.zeros(len(columns))
    batches = [shuffles[start : start + at_once] for start in range(0, len(shuffles), at_once)]
    for places in track(batches, description="  importance", console=console, transient=True):
        shuffled = np.tile(rows, (len(places), 1))
        for number, place in enumerate(places):
            order = random.permutation(len(rows))
            shuffled[number * len(rows) : (number + 1) * len(rows), parts[place]] = rows[order, parts[place]]
        for place, answers in zip(places, np.split(predict(shuffled), len(places)), strict=True):
            drops[place] += (best - main_score(values, answers)) / repeats
    named = {columns[place].name: float(drops[place]) for place in measured}
    return dict(sorted(named.items(), key=lambda item: -item[1]))


def _most_gain(parts: Sequence[slice], gains: Mapping[int, float]) -> list[int]:
    """Return the places of the inputs to measure: all, or _IMPORTANCE_COLUMNS with the largest gains."""
    places = range(len(parts))
    if not gains or len(parts) <= _IMPORTANCE_COLUMNS:
        return list(places)
    gain = {place: sum(gains.get(at, 0.0) for at in range(parts[place].start, parts[place].stop)) for place in places}
    return sorted(sorted(places, key=lambda place: -gain[place])[:_IMPORTANCE_COLUMNS])


def _class_scores(values: Values, answers: Answers) -> dict[str, float]:
    likeliest, labels = answers.argmax(axis=1), np.arange(answers.shape[1])
    metrics = {"roc_auc": main_score(values, answers)}
    if answers.shape[1] == 2:
        metrics["average_precision"] = float(average_precision_score(values, answers[:, 1]))
    metrics |= {
        "accuracy": float(accuracy_score(values, likeliest)),
        "accuracy_of_the_commonest_class": float(np.bincount(values.astype(int)).max() / len(values)),
        "balanced_accuracy": float(balanced_accuracy_score(values, likeliest)),
        "f1_macro": float(f1_score(values, likeliest, average="macro", labels=labels, zero_division=0.0)),
        "log_loss": float(log_loss(values, answers, labels=labels)),
    }
    return metrics | calibration_scores(values, answers)


def _regression_scores(values: Values, answers: NDArray[np.float64]) -> dict[str, float]:
    return {
        "r2": main_score(values, answers[:, None]),
        "rmse": float(root_mean_squared_error(values, answers)),
        "mae": float(mean_absolute_error(values, answers)),
        "median_absolute_error": float(median_absolute_error(values, answers)),
        "rmse_of_the_mean": float(np.std(values)),
    }


def _slice(values: Values, answers: Answers) -> dict[str, float]:
    metrics = {"rows": float(len(values))}
    if answers.shape[1] == 1:
        bias = float((answers[:, 0] - values).mean())
        return metrics | {"rmse": float(root_mean_squared_error(values, answers[:, 0])), "bias": bias}
    metrics["accuracy"] = float(accuracy_score(values, answers.argmax(axis=1)))
    if answers.shape[1] == 2:
        metrics["share_true"] = float((values == 1).mean())
        metrics["mean_probability"] = float(answers[:, 1].mean())
        if len(np.unique(values)) == 2:
            metrics["roc_auc"] = main_score(values, answers)
    return metrics


def _slices(column: Column, numbers: NDArray[np.float64]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
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

"""The true values of the given rows, and the metrics of a model's answers to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, adjusted_rand_score, log_loss, roc_auc_score

from models.card import CalibrationBin, Metrics
from models.errors import DataInvalid
from models.tabular import answers
from training.calibration import calibration
from training.class_metrics import by_class
from training.fitted.answers import Answers, label_text
from training.tabular.evaluation import scores


def target_names(y: Any) -> tuple[str, ...]:  # Any: whatever the caller has
    """Return the names of what is predicted, where `y` has names."""
    if isinstance(y, pd.DataFrame):
        return tuple(map(str, y.columns))
    name = getattr(y, "name", None)
    return (str(name),) if name is not None and isinstance(name, str) else ()


def true_values(y: Any, *, rows: int) -> NDArray[Any] | None:
    """Return `y` as (N, T). Raises DataInvalid for another number of rows, or values that are missing."""
    if y is None:
        return None
    frame = (
        y if isinstance(y, pd.DataFrame) else pd.DataFrame(np.asarray(y.detach().cpu() if hasattr(y, "detach") else y))
    )
    if len(frame) != rows:
        raise DataInvalid(f"y has {len(frame):,} values, and X has {rows:,} rows")
    if frame.isna().any(axis=None):
        raise DataInvalid("y has missing values; leave these rows out of X and y")
    return np.asarray(frame.to_numpy())


def measure(given: Answers, truth: NDArray[Any] | None) -> tuple[dict[str, float], dict[str, Metrics]]:
    """Return the metrics of the answers, the main one first, and those of slices.

    Raises DataInvalid where `truth` does not fit the answers.
    """
    if given.task == answers.CLUSTERING:
        return _of_clusters(given.values, truth)
    if given.task == answers.OUTLIERS:
        return _of_outliers(given.values[:, 0], truth)
    if truth is None:
        return {}, {}
    if given.task == answers.CLASSIFICATION:
        numbers = class_numbers(truth[:, 0], given.classes, given.labels)
        return _of_classes(given.values, numbers, given.classes)
    parts = [given.values[:, part] for part in answers.parts_of(given.task, given.outputs, given.classes)]
    if truth.shape[1] != len(parts):
        raise DataInvalid(f"y has {truth.shape[1]} columns, and the model predicts {len(parts)} targets")
    slices: dict[str, Metrics] = {}
    for column, values, true in zip(given.outputs, parts, truth.T, strict=True):
        if given.task == answers.MULTI_CLASS:
            slices[column.name], _ = _of_classes(values, class_numbers(true, column.categories), column.categories)
        else:
            slices[column.name] = _of_numbers(values, true)
    if len(parts) == 1:
        return dict(slices[given.outputs[0].name]), {}
    common = [name for name in next(iter(slices.values())) if all(name in each for each in slices.values())]
    means = {f"mean_{name}": float(np.mean([each[name] for each in slices.values()])) for name in common}
    return means, {f"target={name}": each for name, each in slices.items()}


def class_numbers(true: NDArray[Any], classes: Sequence[str], labels: Sequence[str] = ()) -> NDArray[np.int64]:
    """Return the number of each true class, which is named as in `classes`, or else as in `labels`.

    Raises DataInvalid for one that the model does not have.
    """
    texts = [label_text(label) for label in true]
    names = labels if labels and not set(texts) <= set(classes) else classes
    numbers = {name: number for number, name in enumerate(names)}
    if unknown := sorted(set(texts) - set(numbers)):
        raise DataInvalid(f"y holds '{unknown[0][:60]}', which is no class of the model: {', '.join(names)[:200]}")
    return np.array([numbers[text] for text in texts], np.int64)


def reliability(given: Answers, truth: NDArray[Any] | None) -> tuple[CalibrationBin, ...]:
    """Return the calibration of a classifier of one target."""
    if truth is None or given.task != answers.CLASSIFICATION or len(given.classes) < 2:
        return ()
    return calibration(class_numbers(truth[:, 0], given.classes, given.labels), given.values)


def _of_classes(
    values: NDArray[np.float64], numbers: NDArray[np.int64], classes: Sequence[str]
) -> tuple[dict[str, float], dict[str, Metrics]]:
    # Sums of float32, which scikit-learn's metrics warn of.
    values = values / values.sum(axis=1, keepdims=True)
    slices = by_class(values, numbers, classes)
    if set(numbers.tolist()) == set(range(len(classes))) and len(classes) > 1:
        return scores(numbers, values), slices
    # An area under the ROC curve needs rows of each class.
    accuracy = float(accuracy_score(numbers, values.argmax(axis=1)))
    loss = float(log_loss(numbers, values, labels=np.arange(len(classes)))) if len(classes) > 1 else 0.0
    return {"accuracy": accuracy, "log_loss": loss}, slices


def _of_numbers(values: NDArray[np.float64], true: NDArray[Any]) -> dict[str, float]:
    try:
        numbers = true.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataInvalid(f"y holds '{str(true[0])[:60]}', and the model predicts numbers") from error
    # R², the main metric, needs values that differ.
    return scores(numbers, values) if numbers.min() != numbers.max() else {}


def _of_clusters(
    distances: NDArray[np.float64], truth: NDArray[Any] | None
) -> tuple[dict[str, float], dict[str, Metrics]]:
    clusters, nearest = distances.argmin(axis=1), distances.min(axis=1)
    slices: dict[str, Metrics] = {
        f"cluster={number}": {
            "rows": float((clusters == number).sum()),
            "mean_distance": float(nearest[clusters == number].mean()) if (clusters == number).any() else 0.0,
        }
        for number in range(distances.shape[1])
    }
    if truth is None:
        return {}, slices
    return {"adjusted_rand": float(adjusted_rand_score(list(map(label_text, truth[:, 0])), clusters))}, slices


def _of_outliers(
    values: NDArray[np.float64], truth: NDArray[Any] | None
) -> tuple[dict[str, float], dict[str, Metrics]]:
    slices: dict[str, Metrics] = {
        "prediction=outlier": {"rows": float((values < 0).sum())},
        "prediction=inlier": {"rows": float((values >= 0).sum())},
    }
    labels = set() if truth is None else set(truth[:, 0].tolist())
    if not labels <= {-1, 1}:
        raise DataInvalid("y of an outlier detection is -1 for an outlier and 1 for an inlier; leave y out otherwise")
    if truth is None or len(labels) < 2:
        return {}, slices
    return {"roc_auc": float(roc_auc_score(truth[:, 0] == 1, values))}, slices

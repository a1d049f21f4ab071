"""What a fitted estimator answers to rows: its task, the outputs of the card, and the numbers to be served."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier, is_clusterer, is_outlier_detector
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline

from models.card import Column, Task
from models.errors import DataInvalid
from models.tabular import answers
from training.fitted.refusal import first_line, not_convertible

PREDICTION = "prediction"

_MAX_REMAINDER = 1e-3

# Of libraries whose errors have no class for it.
_NOT_FITTED = ("not fitted", "no trained model", "fit first")

# One fitted estimator. Any: scikit-learn, LightGBM, XGBoost and CatBoost have no common typed base.
Estimator = Any


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of a model to N rows: float64 (N, W), as `models.tabular.answers` defines them for `task`.

    `classes` are those of a single target, and `labels` what the model calls them. `is_paired`: the estimator gives
    only the second of two probabilities, for each target.
    """

    task: Task
    outputs: tuple[Column, ...]
    values: NDArray[np.float64]
    classes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    is_paired: bool = False

    @property
    def is_probability(self) -> bool:
        """Return whether the numbers are probabilities."""
        return self.task in (answers.CLASSIFICATION, answers.MULTI_CLASS)


def ask(model: Estimator, given: Any, *, classes: Sequence[str] = (), targets: Sequence[str] = ()) -> Answers:
    """Return the answers of `model` to the rows `given`.

    `classes` are names for the model's classes, in the order of its `classes_`; `targets` are the names of what it
    predicts. Raises DataInvalid when it cannot answer these rows, and NotConvertible for answers that no task has.
    """
    name = type(model).__name__
    if hasattr(model, "predict_proba"):
        return _classes(model, _call(model.predict_proba, given, name), given, tuple(map(str, classes)), targets)
    if _is(model, is_classifier):
        last = type(model.steps[-1][1] if isinstance(model, Pipeline) else model).__name__
        instead = f"fit CalibratedClassifierCV({last}(...)) in its place"
        raise not_convertible(f"{last} has no probabilities", instead=instead)
    if _is(model, is_outlier_detector):
        return _outliers(_call(model.decision_function, given, name))
    if _is(model, is_clusterer):
        if not hasattr(model, "transform"):
            raise not_convertible(f"{name} has no distances to the centres of its clusters", instead="fit KMeans")
        return _clusters(_call(model.transform, given, name))
    if not hasattr(model, "predict"):
        raise not_convertible(f"{name} has no predict(X)")
    return estimates(_call(model.predict, given, name), targets)


def estimates(values: NDArray[Any], targets: Sequence[str] = ()) -> Answers:
    """Return the answers of a regression, (N,) or (N, T)."""
    numbers = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    width = numbers.shape[1]
    names = list(targets) if len(targets) == width else [f"y{number}" for number in range(width)]
    what = [f"estimate of '{name}'" if len(targets) == width else "estimate" for name in names]
    outputs = tuple(
        Column(
            name if width > 1 else PREDICTION,
            "number",
            description=description,
            minimum=float(column.min()),
            maximum=float(column.max()),
        )
        for name, description, column in zip(names, what, numbers.T, strict=True)
    )
    return Answers(answers.REGRESSION if width == 1 else answers.MULTI_REGRESSION, outputs, numbers)


def probabilities(
    values: NDArray[np.float64], labels: Sequence[str], *, classes: Sequence[str] = (), target: str = ""
) -> Answers:
    """Return the answers of a classifier of one target, (N, K). `classes` are other names for its labels."""
    classes = tuple(classes or labels)
    what = f"likeliest '{target}'" if target else "likeliest class"
    outputs = (
        Column(PREDICTION, "category", description=what, categories=classes),
        *(Column(f"probability of {name}", "number", minimum=0.0, maximum=1.0) for name in classes),
    )
    return Answers(answers.CLASSIFICATION, outputs, values.astype(np.float64), classes, tuple(labels))


def label_text(label: object) -> str:
    """Return a class as text: 3 and 3.0 are "3", booleans "true" and "false"."""
    if isinstance(label, bool | np.bool_):
        return "true" if label else "false"
    if isinstance(label, int | float | np.number):
        number = float(label)
        return str(int(number)) if number.is_integer() else repr(number)
    return str(label)


def _is(model: Estimator, check: Callable[[Any], bool]) -> bool:
    try:
        return bool(check(model))
    except (AttributeError, TypeError):  # it has no tags of scikit-learn
        return False


def _call(method: Callable[[Any], Any], given: Any, name: str) -> Any:
    """Return the answers to `given`. Raises DataInvalid where the model has none."""
    try:
        return method(given)
    except NotFittedError as error:
        raise DataInvalid(f"{name} is not fitted; call fit(X, y) first") from error
    except Exception as error:  # each library has its own exceptions
        if any(words in str(error).lower() for words in _NOT_FITTED):
            raise DataInvalid(f"{name} is not fitted; call fit(X, y) first") from error
        raise DataInvalid(f"{name} cannot predict the rows of X: {first_line(error)}") from error


def _classes(model: Estimator, shares: Any, given: Any, classes: Sequence[str], targets: Sequence[str]) -> Answers:
    if isinstance(shares, list):
        of_targets = [tuple(map(label_text, each)) for each in model.classes_]
        return _several_classes(model, given, [np.asarray(each) for each in shares], of_targets, targets)
    shares = np.asarray(shares, dtype=np.float64)
    predicted = np.asarray(model.predict(given))
    if predicted.ndim == 2 and predicted.shape[1] > 1:
        pairs = [np.column_stack([1 - each, each]) for each in shares.T]
        several = _several_classes(model, given, pairs, [("0", "1")] * len(pairs), targets)
        return Answers(several.task, several.outputs, several.values, is_paired=True)
    # Mixtures number their components.
    labels = tuple(map(label_text, getattr(model, "classes_", range(shares.shape[1]))))
    if classes and len(classes) != len(labels):
        raise DataInvalid(f"{len(classes)} classes are named, and the model has {len(labels)}: {', '.join(labels)}")
    _check_likeliest(model, labels, shares, predicted)
    return probabilities(shares, labels, classes=classes, target=targets[0] if targets else "")


def _several_classes(
    model: Estimator,
    given: Any,
    shares: Sequence[NDArray[np.float64]],
    labels: Sequence[tuple[str, ...]],
    targets: Sequence[str],
) -> Answers:
    predicted = np.asarray(model.predict(given))
    names = list(targets) if len(targets) == len(shares) else [f"y{number}" for number in range(len(shares))]
    for position, each in enumerate(shares):
        _check_likeliest(model, labels[position], each, predicted[:, position])
    outputs = tuple(
        Column(name, "category", description=f"likeliest '{name}'", categories=each)
        for name, each in zip(names, labels, strict=True)
    )
    return Answers(answers.MULTI_CLASS, outputs, np.concatenate(shares, axis=1).astype(np.float64))


def _check_likeliest(
    model: Estimator, labels: Sequence[str], shares: NDArray[np.float64], predicted: NDArray[Any]
) -> None:
    """Raise NotConvertible for what is no distribution, or another prediction than the likeliest class, as served."""
    if np.abs(shares.sum(axis=1) - 1).max() > _MAX_REMAINDER:
        raise not_convertible(f"the probabilities of {type(model).__name__} do not add up to 1")
    numbers = {label: number for number, label in enumerate(labels)}
    places = np.array([numbers.get(label_text(label), -1) for label in predicted.ravel()])
    if (places < 0).any():
        raise not_convertible(f"{type(model).__name__} predicts labels that are not among its classes")
    rows = np.arange(len(shares))
    others = int((shares[rows, places] < shares.max(axis=1) - 1e-9).sum())
    if others:
        raise not_convertible(
            f"{type(model).__name__} predicts another class than the likeliest for {others:,} of {len(shares):,} rows",
            instead="save the classifier inside of it",
        )


def _outliers(scores: Any) -> Answers:
    values = np.asarray(scores, dtype=np.float64).reshape(-1, 1)
    outputs = (
        Column(PREDICTION, "category", description="below a score of 0: an outlier", categories=("inlier", "outlier")),
        Column("score", "number", minimum=float(values.min()), maximum=float(values.max())),
    )
    return Answers(answers.OUTLIERS, outputs, values)


def _clusters(distances: Any) -> Answers:
    values = np.asarray(distances, dtype=np.float64)
    outputs = (
        Column(PREDICTION, "integer", description="nearest cluster", minimum=0.0, maximum=float(values.shape[1] - 1)),
        *(
            Column(f"distance to cluster {number}", "number", minimum=float(each.min()), maximum=float(each.max()))
            for number, each in enumerate(values.T)
        ),
    )
    return Answers(answers.CLUSTERING, outputs, values)

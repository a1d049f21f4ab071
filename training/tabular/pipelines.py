"""scikit-learn pipelines over an encoded table: the candidates, the choice between them, calibration.

Knows encoded rows (see `models.tabular.row_encoder`), not where they come from. Each pipeline has the steps
"prepare" and "model", which is what `onnx_graph` translates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from models.card import Column
from models.tabular.row_encoder import MISSING
from training.report import console

Values = NDArray[np.int64] | NDArray[np.float64]

LINEAR, BOOSTING = "linear", "boosting"
CALIBRATION_FOLDS = 5
# The choice between candidates needs no more rows than this, and cross-validation costs folds x candidates fits.
_CHOICE_ROWS = 50_000
# Boosting grows one tree per class and round.
_TREES = 1_500


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pipeline that is not fitted, and which family it belongs to."""

    name: str
    family: str
    pipeline: Pipeline


@dataclass(frozen=True, slots=True)
class Choice:
    """The candidate that did best in cross-validation, and the mean and standard deviation of every one's score.

    `margin` is by how much it beats the best candidate of another family.
    """

    best: Candidate
    scores: dict[str, tuple[float, float]]
    metric: str
    margin: float


def candidates(columns: Sequence[Column], *, classes: int, seed: int) -> list[Candidate]:
    """The pipelines to choose from for a table of these columns; `classes` is 0 for regression. Simplest first."""
    found = []
    for strength in (0.05, 1.0):
        if classes:
            linear = LogisticRegression(C=strength, max_iter=2_000)
            name = f"logistic regression, C={strength:g}"
        else:
            linear = Ridge(alpha=1 / strength)
            name = f"ridge regression, alpha={1 / strength:g}"
        found.append(
            Candidate(name, LINEAR, Pipeline([("prepare", _prepare(columns, linear=True)), ("model", linear)]))
        )
    rounds = 150 if classes <= 2 else max(15, min(150, _TREES // classes))
    for leaves in (6, 24):
        kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
        model = kind(
            max_iter=rounds, learning_rate=0.06, max_leaf_nodes=leaves, l2_regularization=1.0, random_state=seed
        )
        name = f"gradient boosting, {leaves} leaves"
        found.append(
            Candidate(name, BOOSTING, Pipeline([("prepare", _prepare(columns, linear=False)), ("model", model)]))
        )
    return found


def choose(found: Sequence[Candidate], rows: NDArray[np.float32], values: Values, *, folds: int, seed: int) -> Choice:
    """Score every candidate by cross-validation, by area under the ROC curve (classes) or R² (numbers)."""
    is_classes = values.dtype.kind == "i"
    splitter = (StratifiedKFold if is_classes else KFold)(folds, shuffle=True, random_state=seed)
    if len(rows) > _CHOICE_ROWS:
        some = np.random.default_rng(seed).choice(len(rows), _CHOICE_ROWS, replace=False)
        rows, values = rows[some], values[some]
    splits = list(splitter.split(rows, values))
    scores: dict[str, list[float]] = {candidate.name: [] for candidate in found}
    jobs = [(candidate, train, test) for candidate in found for train, test in splits]
    for candidate, train, test in track(jobs, description="  cross-validation", console=console, transient=True):
        fitted = clone(candidate.pipeline).fit(rows[train], values[train])
        scores[candidate.name].append(main_score(values[test], predict(fitted, rows[test])))
    means = {name: (float(np.mean(given)), float(np.std(given))) for name, given in scores.items()}
    best = max(found, key=lambda candidate: means[candidate.name][0])
    others = [means[candidate.name][0] for candidate in found if candidate.family != best.family]
    metric = "roc_auc" if is_classes else "r2"
    return Choice(best, means, metric, means[best.name][0] - max(others, default=0.0))


def calibrated(pipeline: Pipeline, *, classes: int) -> Pipeline:
    """The same classification pipeline, not fitted, with its probabilities calibrated on out-of-fold scores.

    Two classes: Platt's sigmoid. More: one temperature for all of them, since a sigmoid for each has too many
    parameters for few rows (wine: Brier score 0.054 after it, 0.026 before). The calibration sits on the last step, and
    one model is fitted to all rows (`ensemble=False`), so that it serves as fast as without. Sources: Platt 1999,
    "Probabilistic outputs for support vector machines"; Guo et al. 2017, "On calibration of modern neural networks".
    """
    method = "sigmoid" if classes == 2 else "temperature"
    model = CalibratedClassifierCV(clone(pipeline["model"]), method=method, cv=CALIBRATION_FOLDS, ensemble=False)
    return Pipeline([("prepare", clone(pipeline["prepare"])), ("model", model)])


def predict(fitted: Pipeline, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities (N, K) of a classification pipeline, estimates (N, 1) of another."""
    wide = rows.astype(np.float64)
    answers = fitted.predict_proba(wide) if hasattr(fitted, "predict_proba") else fitted.predict(wide)
    return np.asarray(answers, dtype=np.float64).reshape(len(rows), -1)


def main_score(values: Values, answers: NDArray[np.float64]) -> float:
    """The number that candidates and the gate are judged by: area under the ROC curve (macro, one against the rest)
    for probabilities (N, K >= 2), R² for estimates (N, 1)."""
    if answers.shape[1] == 1:
        return float(r2_score(values, answers[:, 0]))
    if answers.shape[1] == 2:
        return float(roc_auc_score(values, answers[:, 1]))
    labels = np.arange(answers.shape[1])
    return float(roc_auc_score(values, answers, multi_class="ovr", labels=labels))


def _prepare(columns: Sequence[Column], *, linear: bool) -> ColumnTransformer:
    """Categories one-hot ("none of these" is all zeros), numbers as they are or, for a linear model, filled and scaled.

    Boosting takes NaN as it is.
    """
    categories = [position for position, column in enumerate(columns) if column.kind == "category"]
    numbers = [position for position, column in enumerate(columns) if column.kind != "category"]
    codes = [
        np.arange(MISSING if columns[position].nullable else 0, len(columns[position].categories), dtype=np.float64)
        for position in categories
    ]
    filled = Pipeline([("fill", SimpleImputer(strategy="median", add_indicator=True)), ("scale", StandardScaler())])
    one_hot = OneHotEncoder(categories=codes, handle_unknown="ignore", sparse_output=False)
    parts = [("numbers", filled if linear else "passthrough", numbers), ("categories", one_hot, categories)]
    return ColumnTransformer([part for part in parts if part[2]])

"""scikit-learn pipelines over encoded rows: the candidates, the choice by cross-validation, and calibration.

Each pipeline has the steps "prepare" and "model", which `onnx_graph` converts. The rows are those of
`models.tabular.row_encoder`.
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
# More rows do not improve the choice, and cross-validation costs folds x candidates fits.
_CHOICE_ROWS = 50_000
# Largest number of trees; boosting grows one tree per class and round.
_TREES = 1_500


@dataclass(frozen=True, slots=True)
class Candidate:
    """An unfitted pipeline and its family."""

    name: str
    family: str
    pipeline: Pipeline


@dataclass(frozen=True, slots=True)
class Choice:
    """The best candidate of the cross-validation, and the mean and standard deviation of each candidate's score.

    `margin` is its lead over the best candidate of another family.
    """

    best: Candidate
    scores: dict[str, tuple[float, float]]
    metric: str
    margin: float


def candidates(columns: Sequence[Column], *, classes: int, seed: int) -> list[Candidate]:
    """Return the candidates for a table of these columns, simplest first. `classes` is 0 for regression."""
    pipelines = []
    for strength in (0.05, 1.0):
        if classes:
            linear = LogisticRegression(C=strength, max_iter=2_000)
            name = f"logistic regression, C={strength:g}"
        else:
            linear = Ridge(alpha=1 / strength)
            name = f"ridge regression, alpha={1 / strength:g}"
        pipelines.append(
            Candidate(name, LINEAR, Pipeline([("prepare", _prepare(columns, linear=True)), ("model", linear)]))
        )
    rounds = 150 if classes <= 2 else max(15, min(150, _TREES // classes))
    for leaves in (6, 24):
        kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
        model = kind(
            max_iter=rounds, learning_rate=0.06, max_leaf_nodes=leaves, l2_regularization=1.0, random_state=seed
        )
        name = f"gradient boosting, {leaves} leaves"
        pipelines.append(
            Candidate(name, BOOSTING, Pipeline([("prepare", _prepare(columns, linear=False)), ("model", model)]))
        )
    return pipelines


def choose(
    pipelines: Sequence[Candidate], rows: NDArray[np.float32], values: Values, *, folds: int, seed: int
) -> Choice:
    """Score every candidate by cross-validation, by area under the ROC curve (classes) or R² (numbers)."""
    is_classes = values.dtype.kind == "i"
    splitter = (StratifiedKFold if is_classes else KFold)(folds, shuffle=True, random_state=seed)
    if len(rows) > _CHOICE_ROWS:
        sample = np.random.default_rng(seed).choice(len(rows), _CHOICE_ROWS, replace=False)
        rows, values = rows[sample], values[sample]
    splits = list(splitter.split(rows, values))
    scores: dict[str, list[float]] = {candidate.name: [] for candidate in pipelines}
    jobs = [(candidate, train, test) for candidate in pipelines for train, test in splits]
    for candidate, train, test in track(jobs, description="  cross-validation", console=console, transient=True):
        fitted = clone(candidate.pipeline).fit(rows[train], values[train])
        scores[candidate.name].append(main_score(values[test], predict(fitted, rows[test])))
    means = {name: (float(np.mean(runs)), float(np.std(runs))) for name, runs in scores.items()}
    best = max(pipelines, key=lambda candidate: means[candidate.name][0])
    others = [means[candidate.name][0] for candidate in pipelines if candidate.family != best.family]
    metric = "roc_auc" if is_classes else "r2"
    return Choice(best, means, metric, means[best.name][0] - max(others, default=0.0))


def calibrated(pipeline: Pipeline, *, classes: int) -> Pipeline:
    """Return an unfitted copy of a classification pipeline that calibrates its probabilities on out-of-fold scores.

    Two classes use Platt's sigmoid. More classes share one temperature, because a sigmoid per class has too many
    parameters for few rows (wine: Brier score 0.054 after it, 0.026 before). One model is fitted to all rows
    (`ensemble=False`), so that serving is as fast as without calibration. Sources: Platt 1999, "Probabilistic outputs
    for support vector machines"; Guo et al. 2017, "On calibration of modern neural networks".
    """
    method = "sigmoid" if classes == 2 else "temperature"
    model = CalibratedClassifierCV(clone(pipeline["model"]), method=method, cv=CALIBRATION_FOLDS, ensemble=False)
    return Pipeline([("prepare", clone(pipeline["prepare"])), ("model", model)])


def predict(fitted: Pipeline, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return probabilities (N, K) of a classification pipeline, or estimates (N, 1) of a regression pipeline."""
    wide = rows.astype(np.float64)
    answers = fitted.predict_proba(wide) if hasattr(fitted, "predict_proba") else fitted.predict(wide)
    return np.asarray(answers, dtype=np.float64).reshape(len(rows), -1)


def main_score(values: Values, answers: NDArray[np.float64]) -> float:
    """Return the metric of the choice and of the gate: area under the ROC curve (macro, one against the rest) for
    probabilities (N, K >= 2), R² for estimates (N, 1)."""
    if answers.shape[1] == 1:
        return float(r2_score(values, answers[:, 0]))
    if answers.shape[1] == 2:
        return float(roc_auc_score(values, answers[:, 1]))
    labels = np.arange(answers.shape[1])
    return float(roc_auc_score(values, answers, multi_class="ovr", labels=labels))


def _prepare(columns: Sequence[Column], *, linear: bool) -> ColumnTransformer:
    """Encode categories one-hot ("none of these" is all zeros). For a linear model fill and scale numbers.

    Boosting handles NaN itself.
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

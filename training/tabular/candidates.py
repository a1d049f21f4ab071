"""The models that training compares: linear models and gradient boosting, each with its preparation."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression, Ridge

from models.card import Column
from models.cores import usable_cores
from training.tabular.boosting import Boosting, BoostingParams, Values
from training.tabular.preparation import CODES, NUMBERS, category_positions, prepare

LINEAR, BOOSTING = "linear", "boosting"

_STRENGTHS = (0.02, 0.2, 2.0)
# Boosting grows one tree per class and round.
_MAX_TREES = 12_000
_MAX_ROUNDS = 600
_FEW_ROWS = 500
# Each tree sees this share of the columns, and at most so many.
_FEATURE_SHARE, _MOST_FEATURES = 0.7, 400
_MANY_ROWS = 20_000
# With fewer cells, threads wait for each other longer than they compute.
_CELLS_PER_THREAD = 500_000


class PreparedModel:
    """A preparation and a model. `classes` is 0 for numbers."""

    def __init__(self, preparation: ColumnTransformer, model: Any, *, classes: int) -> None:
        # Any: an estimator of scikit-learn, or Boosting
        self.preparation = preparation
        self.model = model
        self.classes = classes

    def fit(
        self, rows: NDArray[np.float64], values: Values, *, valid: tuple[NDArray[np.float64], Values] | None = None
    ) -> Self:
        """Fit to encoded rows. Boosting stops early by `valid`."""
        prepared = self.preparation.fit_transform(rows, values)
        if isinstance(self.model, Boosting) and valid is not None:
            self.model.fit(prepared, values, valid=(self.preparation.transform(valid[0]), valid[1]))
        else:
            self.model.fit(prepared, values)
        return self

    def predict(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return probabilities (N, K), or estimates (N, 1)."""
        prepared = self.preparation.transform(rows)
        if isinstance(self.model, Boosting):
            scores = self.model.scores(prepared)
        elif self.classes:
            scores = np.asarray(self.model.decision_function(prepared)).reshape(len(rows), -1)
        else:
            scores = np.asarray(self.model.predict(prepared)).reshape(len(rows), 1)
        return probabilities(scores) if self.classes else scores

    def column_gains(self) -> dict[int, float]:
        """Return each encoded column's share of boosting's gain; empty for a linear model."""
        if not isinstance(self.model, Boosting):
            return {}
        gains = self.model.booster.feature_importance("gain")
        # Numbers and codes are prepared one by one, and stand before the vectors of texts.
        names = [name for name, _, _ in self.preparation.transformers if name in (NUMBERS, CODES)]
        columns = [at for name, _, positions in self.preparation.transformers if name in names for at in positions]
        return {at: float(gain / max(gains.sum(), 1e-300)) for at, gain in zip(columns, gains, strict=False)}

    @property
    def rounds(self) -> int:
        """The rounds of boosting that `predict` uses; 0 for a linear model."""
        return self.model.rounds if isinstance(self.model, Boosting) else 0

    @rounds.setter
    def rounds(self, rounds: int) -> None:
        if isinstance(self.model, Boosting):
            self.model.rounds = min(rounds, self.model.booster.num_trees())


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model to compare. `make` returns it unfitted, with a number of rounds, or with the most for 0."""

    name: str
    family: str
    make: Callable[[int], PreparedModel]


def probabilities(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return probabilities (N, K) of log odds (N, 1) or of scores (N, K > 2)."""
    if scores.shape[1] > 1:
        return np.asarray(softmax(scores, axis=1))
    second = expit(scores)
    return np.hstack([1 - second, second])


def candidates(columns: Sequence[Column], *, classes: int, rows: int, seed: int) -> list[Candidate]:
    """Return the candidates for a table of these columns and of `rows` rows, simplest first."""
    linear = [_linear(columns, strength, classes=classes, seed=seed) for strength in _STRENGTHS]
    most = max(20, min(_MAX_ROUNDS, _MAX_TREES // max(1, classes)))
    min_leaf_rows = 5 if rows < _FEW_ROWS else 20
    share = min(_FEATURE_SHARE, _MOST_FEATURES / len(columns))
    plain = BoostingParams(most // 2, 0.1, 31, min_leaf_rows)
    sampled = BoostingParams(most, 0.05, 31, min_leaf_rows, l2=1.0, feature_share=share, row_share=0.8)
    small = BoostingParams(most, 0.05, 8, min_leaf_rows, l2=1.0, feature_share=share, row_share=0.8)
    if rows < _FEW_ROWS:
        chosen = [small, sampled]
    else:
        chosen = [plain, sampled] if rows > _MANY_ROWS else [small, sampled, plain]
    threads = _threads(rows * len(columns))
    return [*linear, *(_boosting(columns, params, classes=classes, seed=seed, threads=threads) for params in chosen)]


def _linear(columns: Sequence[Column], strength: float, *, classes: int, seed: int) -> Candidate:
    name = f"logistic regression (C={strength:g})" if classes else f"ridge regression (alpha={1 / strength:g})"

    def make(rounds: int) -> PreparedModel:
        model = LogisticRegression(C=strength, max_iter=2_000) if classes else Ridge(alpha=1 / strength)
        return PreparedModel(prepare(columns, is_linear=True, seed=seed), model, classes=classes)

    return Candidate(name, LINEAR, make)


def _boosting(columns: Sequence[Column], params: BoostingParams, *, classes: int, seed: int, threads: int) -> Candidate:
    name = f"gradient boosting ({params.leaves} leaves, learning rate {params.learning_rate:g})"

    def make(rounds: int) -> PreparedModel:
        preparation = prepare(columns, is_linear=False, seed=seed)
        model = Boosting(
            params, classes=classes, categories=category_positions(preparation), seed=seed, threads=threads
        )
        model.rounds = rounds or params.rounds
        return PreparedModel(preparation, model, classes=classes)

    return Candidate(name, BOOSTING, make)


def _threads(cells: int) -> int:
    """Return the number of threads for a table of `cells` cells: one where it is small, or the machine is busy."""
    cores = usable_cores()
    idle = cores - round(os.getloadavg()[0]) if hasattr(os, "getloadavg") else cores
    return 1 if cells < _CELLS_PER_THREAD else max(1, min(cores, idle + 1))

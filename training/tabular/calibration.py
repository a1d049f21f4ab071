"""Calibration of probabilities, fitted to out-of-fold predictions and kept only where it lowers their log loss.

Two classes use Platt's sigmoid on the log odds. More classes share one temperature, because a sigmoid per class has too
many parameters for few rows. Both are bounded: on separable data the likeliest slope is infinite, and every answer
would be 1.0. Sources: Platt 1999, "Probabilistic outputs for support vector machines"; Guo et al. 2017, "On
calibration of modern neural networks".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, logit
from sklearn.model_selection import StratifiedKFold

Answers = NDArray[np.float64]

# Probabilities are kept away from 0 and 1 by this much, so that log odds are finite.
EPSILON = 1e-12

_SLOPES = (0.3, 1.5)
_OFFSETS = (-5.0, 5.0)
_FOLDS = 4


@dataclass(frozen=True, slots=True)
class Calibration:
    """Log odds, or logarithms of probabilities, times `slope`; and for two classes plus `offset`."""

    slope: float
    offset: float = 0.0

    def apply(self, answers: Answers) -> Answers:
        """Return calibrated probabilities (N, K)."""
        clipped = np.clip(answers, EPSILON, 1 - EPSILON)
        if answers.shape[1] == 2:
            second = expit(self.slope * logit(clipped[:, 1]) + self.offset)
            return np.column_stack([1 - second, second])
        return np.asarray(np.exp(log_softmax(self.slope * np.log(clipped), axis=1)), np.float64)


def fit_calibration(values: NDArray[np.int64], answers: Answers, *, seed: int) -> Calibration | None:
    """Return the calibration of out-of-fold probabilities (N, K), or None where it does not lower the log loss.

    The fall has to be larger than its standard error. It is measured across folds, each with a calibration that was
    fitted to the other folds.
    """
    calibrated = answers.copy()
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    for train, test in folds.split(answers, values):
        calibrated[test] = _fit(values[train], answers[train]).apply(answers[test])
    places = np.arange(len(values))
    gains = np.log(np.clip(calibrated[places, values], EPSILON, 1.0))
    gains -= np.log(np.clip(answers[places, values], EPSILON, 1.0))
    is_better = gains.mean() > gains.std() / np.sqrt(len(gains))
    return _fit(values, answers) if is_better else None


def _fit(values: NDArray[np.int64], answers: Answers) -> Calibration:
    places = np.arange(len(values))
    is_binary = answers.shape[1] == 2

    def loss(point: NDArray[np.float64]) -> float:
        applied = Calibration(float(point[0]), float(point[1]) if is_binary else 0.0).apply(answers)
        return float(-np.log(np.clip(applied[places, values], EPSILON, 1.0)).mean())

    start, bounds = ([1.0, 0.0], [_SLOPES, _OFFSETS]) if is_binary else ([1.0], [_SLOPES])
    best = minimize(loss, start, bounds=bounds, method="L-BFGS-B").x
    return Calibration(float(best[0]), float(best[1]) if is_binary else 0.0)

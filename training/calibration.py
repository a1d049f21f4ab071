"""Calibration of classifiers: reliability bins, Brier score and expected calibration error.

The bins have their counts, which scikit-learn's `calibration_curve` does not return, and scikit-learn has no expected
calibration error.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss

from models.card import CalibrationBin

Values = NDArray[np.generic]
Answers = NDArray[np.float64]

CALIBRATION_BINS = 10


def calibration(values: Values, answers: Answers) -> tuple[CalibrationBin, ...]:
    """Return the reliability of probabilities (N, K >= 2) in bins of equal width. Empty bins are omitted."""
    predicted, is_true = _predictions(values, answers)
    positions = np.minimum((predicted * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    return tuple(
        CalibrationBin(
            lower=position / CALIBRATION_BINS,
            upper=(position + 1) / CALIBRATION_BINS,
            rows=int((positions == position).sum()),
            mean_probability=float(predicted[positions == position].mean()),
            observed_share=float(is_true[positions == position].mean()),
        )
        for position in np.unique(positions).tolist()
    )


def calibration_scores(values: Values, answers: Answers) -> dict[str, float]:
    """Return the Brier score and the expected calibration error of probabilities (N, K >= 2).

    With two classes both concern the second class. With more, the Brier score is summed over all classes and the error
    concerns the likeliest. Sources: Brier 1950; Guo et al. 2017, "On calibration of modern neural networks".
    """
    labels = np.arange(answers.shape[1])
    error = sum(bin_.rows * abs(bin_.mean_probability - bin_.observed_share) for bin_ in calibration(values, answers))
    return {"brier": float(brier_score_loss(values, answers, labels=labels)), "ece": float(error / len(values))}


def _predictions(values: Values, answers: Answers) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the probability of each prediction, and whether it is true."""
    if answers.shape[1] == 2:
        return answers[:, 1], values == 1
    likeliest = answers.argmax(axis=1)
    return answers[np.arange(len(values)), likeliest], values == likeliest

"""Tests of the calibration: bounded, and kept only where it lowers the log loss."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.metrics import log_loss

from training.tabular.calibration import Calibration, fit_calibration


def overconfident(rows: int, factor: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return labels, and probabilities whose log odds are `factor` times too large."""
    random = np.random.default_rng(0)
    odds = random.normal(0, 2, rows)
    values = (random.random(rows) < expit(odds)).astype(np.int64)
    second = expit(factor * odds)
    return values, np.column_stack([1 - second, second])


def test_an_overconfident_model_is_corrected() -> None:
    values, answers = overconfident(4_000, 2.5)
    calibration = fit_calibration(values, answers, seed=0)
    assert calibration is not None
    assert calibration.slope == pytest.approx(0.4, abs=0.05)
    assert log_loss(values, calibration.apply(answers)) < log_loss(values, answers) - 0.02


def test_calibrated_probabilities_are_left_as_they_are() -> None:
    values, answers = overconfident(4_000, 1.0)
    assert fit_calibration(values, answers, seed=0) is None


def test_separable_classes_do_not_become_certain() -> None:
    values = np.repeat(np.arange(3), 60)
    answers = softmax(4.0 * np.eye(3)[values], axis=1)
    calibration = fit_calibration(values, answers, seed=0)
    calibrated = answers if calibration is None else calibration.apply(answers)
    assert calibrated.max() < 0.9999


@pytest.mark.parametrize("classes", [2, 4])
def test_calibrated_answers_are_probabilities(classes: int) -> None:
    answers = softmax(np.random.default_rng(1).normal(0, 9, (50, classes)), axis=1)
    calibrated = Calibration(1.5, 2.0 if classes == 2 else 0.0).apply(answers)
    np.testing.assert_allclose(calibrated.sum(axis=1), 1, atol=1e-12)
    assert (calibrated >= 0).all()

"""Metrics of answers whose quality is known."""

from __future__ import annotations

import numpy as np
import pytest

from training.calibration import calibration
from training.text.evaluation import length_slices, scores


def test_perfect_answers_have_perfect_scores() -> None:
    values = np.arange(60) % 3
    metrics = scores(values, np.eye(3)[values])
    assert (metrics["f1_macro"], metrics["accuracy"], metrics["balanced_accuracy"]) == (1, 1, 1)
    assert (metrics["brier"], metrics["ece"]) == (0, 0)
    assert metrics["log_loss"] == pytest.approx(0, abs=1e-12)
    assert metrics["accuracy_of_the_commonest_class"] == pytest.approx(1 / 3)


def test_two_classes_are_scored_by_the_second() -> None:
    values = np.array([0, 1, 1, 1])
    metrics = scores(values, np.array([[0.25, 0.75]] * 4))
    assert metrics["accuracy"] == 0.75
    assert metrics["brier"] == pytest.approx((0.75**2 + 3 * 0.25**2) / 4)
    assert metrics["ece"] == pytest.approx(0)
    (only,) = calibration(values, np.array([[0.25, 0.75]] * 4))
    assert (only.lower, only.upper, only.rows, only.mean_probability, only.observed_share) == (0.7, 0.8, 4, 0.75, 0.75)


def test_a_class_that_is_never_predicted_counts_in_the_macro_f1() -> None:
    values = np.array([0, 0, 1, 2])
    assert scores(values, np.tile([0.8, 0.1, 0.1], (4, 1)))["f1_macro"] == pytest.approx((2 / 3) / 3)


def test_slices_are_quarters_of_the_lengths() -> None:
    texts = ["x" * (1 + row) for row in range(100)]
    values = (np.arange(100) >= 50).astype(np.int64)
    slices = length_slices(texts, values, np.tile([0.9, 0.1], (100, 1)))
    assert sum(each["rows"] for each in slices.values()) == 100
    assert [each["accuracy"] for each in slices.values()] == [1, 1, 0, 0]
    assert next(iter(slices)).startswith("text_length=1 to under ")


def test_few_rows_make_no_slices() -> None:
    assert length_slices(["same"] * 50, np.zeros(50, np.int64), np.tile([0.9, 0.1], (50, 1))) == {}

"""Tests of metrics, slices, calibration and importance, on answers of known quality."""

from __future__ import annotations

import numpy as np
import pytest

from models.card import Column
from models.tabular.row_encoder import MISSING, NONE_OF_THESE
from training.calibration import calibration, calibration_scores
from training.tabular.evaluation import importance, scores, slice_scores

VALUES = np.array([0, 1, 1, 0, 1, 0, 1, 1, 0, 1] * 10, dtype=np.int64)


def both(second: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.stack([1 - second, second], axis=1)


def test_perfect_and_useless_answers() -> None:
    perfect = scores(VALUES, both(VALUES.astype(float)))
    assert (perfect["roc_auc"], perfect["accuracy"], perfect["brier"], perfect["ece"]) == (1, 1, 0, 0)
    useless = scores(VALUES, both(np.full(100, 0.6)))
    assert useless["roc_auc"] == 0.5
    assert useless["accuracy"] == useless["accuracy_of_the_commonest_class"] == 0.6
    assert useless["brier"] == pytest.approx(0.24)
    assert useless["ece"] == pytest.approx(0)


def test_the_gates_metric_comes_first() -> None:
    assert next(iter(scores(VALUES, both(np.linspace(0, 1, 100))))) == "roc_auc"
    assert next(iter(scores(np.arange(9.0), np.arange(9.0)[:, None]))) == "r2"


def test_overconfidence_is_seen_in_the_bins_and_in_the_error() -> None:
    answers = both(np.full(100, 0.95))
    (only,) = calibration(VALUES, answers)
    assert (only.lower, only.upper, only.rows, only.observed_share) == (0.9, 1.0, 100, 0.6)
    assert calibration_scores(VALUES, answers)["ece"] == pytest.approx(0.35)


def test_a_probability_of_one_is_in_the_last_bin() -> None:
    (first, last) = calibration(np.array([0, 1]), both(np.array([0.0, 1.0])))
    assert (first.lower, last.upper) == (0.0, 1.0)


def test_calibration_of_many_classes_is_about_the_likeliest() -> None:
    values = np.array([0, 1, 2, 2])
    answers = np.tile([0.2, 0.2, 0.6], (4, 1))
    assert calibration_scores(values, answers) == pytest.approx({"ece": 0.1, "brier": (0.24 * 2 + 1.04 * 2) / 4})


def test_numbers_are_measured_in_their_own_unit() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0])
    result = scores(values, values[:, None] + np.array([[1.0], [-1.0], [1.0], [-1.0]]))
    assert result["rmse"] == result["mae"] == result["median_absolute_error"] == 1
    assert result["r2"] == pytest.approx(1 - 4 / 5)


def test_slices_cover_every_kind_of_column_and_leave_small_ones_out() -> None:
    columns = (
        Column("k", "category", categories=("a", "b", "c")),
        Column("f", "boolean"),
        Column("n", "number"),
        Column("few", "integer"),
    )
    rows = np.stack(
        [
            np.repeat([0, 1, MISSING, NONE_OF_THESE, 2], [25, 25, 20, 20, 10]),
            np.repeat([0, 1, np.nan], [40, 40, 20]),
            np.arange(100),
            np.repeat([3, 5], 50),
        ],
        axis=1,
    ).astype(np.float64)
    result = slice_scores(columns, rows, VALUES, both(np.linspace(0, 1, 100)))
    assert {name: metrics["rows"] for name, metrics in result.items()} == {
        "k=a": 25, "k=b": 25, "k=(missing)": 20, "k=(none of these)": 20,
        "f=(missing)": 20, "f=false": 40, "f=true": 40,
        "n=0 to under 25": 25, "n=25 to under 50": 25, "n=50 to under 74": 24, "n=74 to 99": 26,
        "few=3": 50, "few=5": 50,
    }  # fmt: skip
    assert result["k=a"]["accuracy"] == pytest.approx((VALUES[:25] == 0).mean())


def test_only_the_most_important_columns_of_a_wide_table_are_sliced() -> None:
    columns = tuple(Column(f"n{place}", "boolean") for place in range(300))
    rows = np.tile(np.repeat([0.0, 1.0], 50)[:, None], (1, 300))
    importance = {f"n{place}": float(place) for place in range(100, 300)}
    result = slice_scores(columns, rows, VALUES, both(np.linspace(0, 1, 100)), importance=importance)
    assert {name.partition("=")[0] for name in result} == {f"n{place}" for place in range(200, 300)}


def test_importance_is_that_of_the_column_that_matters() -> None:
    rows = np.stack([VALUES + 0.25, np.arange(100) % 7], axis=1).astype(np.float64)
    columns = (Column("matters", "number"), Column("idle", "number"))
    result = importance(lambda given: both(np.clip(given[:, 0], 0, 1)), columns, rows, VALUES, seed=0)
    assert list(result) == ["matters", "idle"]
    assert result["matters"] > 0.3
    assert result["idle"] == 0

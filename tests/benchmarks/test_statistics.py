from __future__ import annotations

import pytest

from benchmarks.statistics import medians, percentiles, ratio, spread


def test_percentiles_are_values_of_the_sample_by_nearest_rank() -> None:
    values = [float(value) for value in range(1, 101)]
    assert percentiles(values) == {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 100.0, "max": 100.0}


@pytest.mark.parametrize("count", [1000, 2000, 9000, 10_000])
def test_the_rank_of_a_percentile_has_no_rounding_error(count: int) -> None:
    results = percentiles([float(value) for value in range(1, count + 1)])
    assert (results["p99"], results["p99.9"]) == (count * 99 // 100, count * 999 // 1000)


def test_percentiles_of_one_value_are_that_value() -> None:
    assert percentiles([7.0]) == {"p50": 7.0, "p90": 7.0, "p99": 7.0, "p99.9": 7.0, "max": 7.0}


def test_percentiles_do_not_need_sorted_values() -> None:
    assert percentiles([3.0, 1.0, 2.0])["p50"] == 2.0


def test_percentiles_without_values_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        percentiles([])


def test_the_median_of_rounds_ignores_one_outlier() -> None:
    assert medians([{"a": 10.0}, {"a": 1.0}, {"a": 11.0}]) == {"a": 10.0}


def test_a_value_that_a_round_lacks_is_taken_from_the_others() -> None:
    assert medians([{"a": 1.0, "b": 5.0}, {"a": 3.0}]) == {"a": 2.0, "b": 5.0}


def test_a_ratio_without_both_values_is_none() -> None:
    assert [ratio(6, 3), ratio(None, 3), ratio(6, None), ratio(6, 0)] == [2, None, None, None]


def test_the_spread_is_relative_to_the_median() -> None:
    assert spread([90.0, 100.0, 110.0]) == pytest.approx(0.2)
    assert spread([0.0]) == 0

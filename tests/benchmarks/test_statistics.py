from __future__ import annotations

import pytest

from benchmarks.statistics import medians, percentile, percentile_name, percentiles, ratio, spread


def test_a_percentile_is_the_smallest_value_that_enough_others_do_not_exceed() -> None:
    hundred = list(range(1, 101))
    assert [percentile(hundred, percent) for percent in (0, 1, 50, 90, 99, 99.9, 100)] == [1, 1, 50, 90, 99, 100, 100]


@pytest.mark.parametrize(("count", "percent", "rank"), [(1000, 99.9, 999), (10_000, 99.9, 9990), (1000, 99.0, 990)])
def test_a_percentile_does_not_slip_by_a_rank_in_binary_arithmetic(count: int, percent: float, rank: int) -> None:
    assert percentile(list(range(1, count + 1)), percent) == rank


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert percentiles([7.0]) == {"p50": 7.0, "p90": 7.0, "p99": 7.0, "p99.9": 7.0, "max": 7.0}


def test_percentiles_do_not_need_an_order() -> None:
    assert percentiles([3.0, 1.0, 2.0])["p50"] == 2.0


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], -1), ([1.0], 101)])
def test_a_percentile_of_nothing_or_outside_of_0_to_100_is_refused(values: list[float], percent: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, percent)


def test_percentiles_are_named_as_they_are_spoken() -> None:
    assert [percentile_name(percent) for percent in (50.0, 99.9)] == ["p50", "p99.9"]


def test_the_median_of_rounds_ignores_one_bad_round() -> None:
    assert medians([{"a": 10.0}, {"a": 1.0}, {"a": 11.0}]) == {"a": 10.0}


def test_a_number_that_a_round_lacks_is_taken_from_the_others() -> None:
    assert medians([{"a": 1.0, "b": 5.0}, {"a": 3.0}]) == {"a": 2.0, "b": 5.0}


def test_a_ratio_without_both_numbers_is_unknown() -> None:
    assert [ratio(6, 3), ratio(None, 3), ratio(6, None), ratio(6, 0)] == [2, None, None, None]


def test_the_spread_is_relative_to_the_median() -> None:
    assert spread([90.0, 100.0, 110.0]) == pytest.approx(0.2)
    assert spread([0.0]) == 0

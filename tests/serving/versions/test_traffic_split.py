"""Shares are exact in expectation, callers keep their version, and a change of weights moves as few as possible."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from serving.versions.traffic_split import NO_SPLIT, TrafficSplit

UNITS = [f"user:{number}" for number in range(20_000)]


@pytest.mark.parametrize("weights", [{"a": 0.9, "b": 0.1}, {"a": 0.5, "b": 0.3, "c": 0.2}, {"a": 0.999, "b": 0.001}])
def test_shares_are_what_the_weights_say(weights: dict[str, float]) -> None:
    split = TrafficSplit(weights)
    shares = Counter(split.choose(unit) for unit in UNITS)
    for version, weight in weights.items():
        # Four standard deviations of a binomial; the units are fixed, so this is no matter of luck.
        assert abs(shares[version] - weight * len(UNITS)) < 4 * math.sqrt(len(UNITS) * weight * (1 - weight))


def test_a_unit_keeps_its_version() -> None:
    split = TrafficSplit({"a": 0.5, "b": 0.5})
    assert [split.choose(unit) for unit in UNITS[:100]] == [split.choose(unit) for unit in UNITS[:100]]
    assert len({split.choose(unit) for unit in UNITS[:100]}) == 2


def test_a_version_that_grows_keeps_its_callers() -> None:
    small, large = TrafficSplit({"a": 0.9, "b": 0.1}), TrafficSplit({"a": 0.6, "b": 0.4})
    on_b = [unit for unit in UNITS if small.choose(unit) == "b"]
    assert on_b
    assert all(large.choose(unit) == "b" for unit in on_b)


def test_a_version_of_weight_zero_gets_no_traffic_and_is_loaded() -> None:
    split = TrafficSplit({"a": 1.0, "b": 0.0}, shadow="c")
    assert {split.choose(unit) for unit in UNITS[:1000]} == {"a"}
    assert split.versions == ("a", "b", "c")
    assert NO_SPLIT.choose("user:1") == ""

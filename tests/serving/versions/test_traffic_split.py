"""Shares are exact in expectation, everybody stays where they are, and weights move only those whom they have to."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest

from serving.versions.state import Plans
from serving.versions.traffic_split import NO_SPLIT, TrafficSplit

UNITS = [f"user:{number}" for number in range(20_000)]


@pytest.mark.parametrize("weights", [{"a": 0.9, "b": 0.1}, {"a": 0.5, "b": 0.3, "c": 0.2}, {"a": 0.999, "b": 0.001}])
def test_shares_are_what_the_weights_say(weights: dict[str, float]) -> None:
    plan = TrafficSplit(weights)
    found = Counter(plan.choose(unit) for unit in UNITS)
    for version, weight in weights.items():
        # Four standard deviations of a binomial; the units are fixed, so this is no matter of luck.
        assert abs(found[version] - weight * len(UNITS)) < 4 * math.sqrt(len(UNITS) * weight * (1 - weight))


def test_a_unit_keeps_its_version() -> None:
    plan = TrafficSplit({"a": 0.5, "b": 0.5})
    assert [plan.choose(unit) for unit in UNITS[:100]] == [plan.choose(unit) for unit in UNITS[:100]]
    assert len({plan.choose(unit) for unit in UNITS[:100]}) == 2


def test_a_version_that_grows_takes_and_gives_nobody_away() -> None:
    small, large = TrafficSplit({"a": 0.9, "b": 0.1}), TrafficSplit({"a": 0.6, "b": 0.4})
    on_b = [unit for unit in UNITS if small.choose(unit) == "b"]
    assert on_b
    assert all(large.choose(unit) == "b" for unit in on_b)


def test_a_weight_of_nothing_gets_nothing_and_is_loaded_all_the_same() -> None:
    plan = TrafficSplit({"a": 1.0, "b": 0.0}, shadow="c")
    assert {plan.choose(unit) for unit in UNITS[:1000]} == {"a"}
    assert plan.versions == ("a", "b", "c")
    assert NO_SPLIT.choose("user:1") == ""


def test_a_plan_is_kept_whole_and_each_writing_is_another(tmp_path: Path) -> None:
    plans = Plans(tmp_path / "traffic")
    assert plans.read("m").plan == NO_SPLIT
    plan = TrafficSplit({"a": 0.9, "b": 0.1}, shadow="c")
    first, second = plans.write("m", plan), plans.write("m", plan)
    assert first is not None
    assert second is not None
    assert first.serial != second.serial
    assert plans.read("m") == second
    assert [file.name for file in (tmp_path / "traffic").iterdir()] == ["m.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weights": {"a": "x"}, "shadow": null, "serial": "1"}', "\x00"])
def test_a_file_that_is_no_plan_is_said(text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "m.json").write_text(text)
    assert Plans(tmp_path).read("m").plan == NO_SPLIT
    assert "cannot be read" in caplog.text


def test_where_nothing_can_be_written_it_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    assert Plans(tmp_path / "file" / "traffic").write("m", TrafficSplit({"a": 1.0})) is None
    assert "forgotten" in caplog.text

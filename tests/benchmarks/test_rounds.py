from __future__ import annotations

import pytest

from benchmarks.checks import Sampled
from benchmarks.closed_loop import Load
from benchmarks.rounds import alternating, summary


def load(per_s: float, *, failed: dict[str, int] | None = None) -> Load:
    return Load(int(per_s), 1.0, failed or {}, {"p50": 1000 / per_s, "p99": 3000 / per_s})


def test_the_order_is_turned_round_every_other_round() -> None:
    assert [alternating("abc", number) for number in range(3)] == [["a", "b", "c"], ["c", "b", "a"], ["a", "b", "c"]]


def test_rates_and_latencies_are_medians_and_failures_are_added_up() -> None:
    found = summary(
        [load(100), load(300, failed={"status": 1}), load(200, failed={"status": 2, "timeout": 4})],
        [Sampled(10, 1, 0, ["7 instead of 8"]), Sampled(10, 0, 2), Sampled(10)],
    )
    assert found["per_s"] == 198  # 100, 299 and 198 without the failed ones
    assert found["p50"] == 5
    assert (found["failed"], found["failed_by_kind"]) == (9, {"status": 3, "timeout": 4, "sampled": 2})
    assert (found["sampled"], found["wrong"], found["faults"]) == (30, 1, ["7 instead of 8"])
    assert found["spread"] == pytest.approx((299 - 100) / 198)


def test_a_round_without_answers_does_not_make_latencies_better() -> None:
    found = summary([load(100), Load(0, 1.0, {}, {}), load(100)], [Sampled()] * 3)
    assert (found["per_s"], found["p50"]) == (100, 10)

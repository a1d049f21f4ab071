from __future__ import annotations

import pytest

from benchmarks.closed_loop import ClosedLoopResult
from benchmarks.rounds import alternating, summary
from benchmarks.validation import Samples


def load(per_s: float, *, failed: dict[str, int] | None = None) -> ClosedLoopResult:
    return ClosedLoopResult(int(per_s), 1.0, failed or {}, {"p50": 1000 / per_s, "p99": 3000 / per_s})


def test_the_order_is_reversed_in_odd_rounds() -> None:
    assert [alternating("abc", number) for number in range(3)] == [["a", "b", "c"], ["c", "b", "a"], ["a", "b", "c"]]


def test_rates_and_latencies_are_medians_and_failures_are_sums() -> None:
    results = summary(
        [load(100), load(300, failed={"status": 1}), load(200, failed={"status": 2, "timeout": 4})],
        [Samples(10, 1, 0, ["7 instead of 8"]), Samples(10, 0, 2), Samples(10)],
    )
    assert results["per_s"] == 198  # the rates without failed requests are 100, 299 and 198
    assert results["p50"] == 5
    assert (results["failed"], results["failed_by_kind"]) == (9, {"status": 3, "timeout": 4, "sampled": 2})
    assert (results["sampled"], results["wrong"], results["faults"]) == (30, 1, ["7 instead of 8"])
    assert results["spread"] == pytest.approx((299 - 100) / 198)


def test_a_round_without_responses_does_not_improve_latencies() -> None:
    results = summary([load(100), ClosedLoopResult(0, 1.0, {}, {}), load(100)], [Samples()] * 3)
    assert (results["per_s"], results["p50"]) == (100, 10)

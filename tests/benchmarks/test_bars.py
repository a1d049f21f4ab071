from __future__ import annotations

from typing import Any

from benchmarks.bars import bars, value


def load(per_s: float, p50: float = 1.0, p99: float = 2.0, **more: Any) -> dict[str, Any]:
    return {"per_s": per_s, "p50": p50, "p99": p99, "requests": 100, "failed": 0, "wrong": 0, **more}


def document(**targets: dict[str, Any]) -> dict[str, Any]:
    return {"scenarios": {"overhead": {"targets": {key: {"by_connections": one} for key, one in targets.items()}}}}


def reached(found: dict[str, Any], beginning: str) -> tuple[str | None, bool | None]:
    return next((bar.reached, bar.is_met) for bar in bars(found) if bar.what.startswith(beginning))


def test_nothing_measured_meets_nothing() -> None:
    assert {(bar.reached, bar.is_met) for bar in bars({})} == {(None, None)}


def test_a_factor_is_met_from_its_bar_on() -> None:
    stock = "overhead, process, c=64: x stock"
    assert reached(document(**{"ours-process": {"64": load(150)}, "bentoml": {"64": load(10)}}), stock) == (
        "15.0 x",
        True,
    )
    assert reached(document(**{"ours-process": {"64": load(149)}, "bentoml": {"64": load(10)}}), stock) == (
        "14.9 x",
        False,
    )


def test_a_peer_that_answers_nothing_is_beaten() -> None:
    found = document(**{"ours-process": {"64": load(150)}, "bentoml": {"64": load(0)}})
    assert reached(found, "overhead, process, c=64: x stock") == ("it answered nothing", True)


def test_a_latency_is_met_up_to_its_bar() -> None:
    found = document(**{"ours-inline": {"1": load(1, p50=0.5)}, "fastapi": {"1": load(1, p50=0.25)}})
    assert reached(found, "overhead, inline") == ("2.00 x", True)
    found = document(**{"ours-inline": {"1": load(1, p50=0.6)}, "fastapi": {"1": load(1, p50=0.25)}})
    assert reached(found, "overhead, inline") == ("2.40 x", False)


def test_the_tail_is_that_of_the_worse_placement() -> None:
    targets = {"ours-process": {"16": load(1, 1.0, 4.0)}, "ours-inline": {"16": load(1, 1.0, 6.0)}}
    found = {"scenarios": {"tabular": {"targets": {key: {"by_connections": one} for key, one in targets.items()}}}}
    assert reached(found, "tabular, c=16") == ("6.0", False)


def test_failures_and_wrong_answers_of_ours_count_and_those_of_peers_do_not() -> None:
    found = document(
        **{"ours-process": {"64": load(1, failed=1), "16": load(1, wrong=1)}, "bentoml": {"64": load(1, failed=50)}}
    )
    assert reached(found, "failed or wrong") == ("2", False)
    found["scenarios"]["overhead"]["targets"]["ours-process"]["by_connections"] = {"64": load(1)}
    found["open_loop"] = {"overhead": {"ours-inline": {"100": {"due": 10, "failed": 3, "wrong": 0}}}}
    assert reached(found, "failed or wrong") == ("3", False)
    found["open_loop"] = {}
    assert reached(found, "failed or wrong") == ("0", True)


def test_what_of_ours_does_not_start_is_no_success() -> None:
    found = document(**{"ours-process": {"64": load(1)}})
    found["scenarios"]["overhead"]["targets"]["ours-inline"] = {"missing": "it ended by itself"}
    assert reached(found, "failed or wrong") == ("0", False)


def test_failures_in_sweeps_and_over_many_requests_count() -> None:
    found = document(**{"ours-process": {"64": load(1)}})
    found["sweeps"] = {"rows": {"1": load(1, failed=1)}, "gateways": {"2": {"ours-inline": load(1, failed=2)}}}
    found["growth"] = {"a": {"failed": 4}}
    assert reached(found, "failed or wrong") == ("7", False)


def test_memory_is_that_of_the_worst_case_that_was_measured_to_the_end() -> None:
    def grown(growth: float, requests: int) -> dict[str, Any]:
        return {"growth": growth, "failed": 0, "points": [{"requests": requests, "bytes": 1}]}

    found = {"growth": {"a": grown(1.01, 10**6), "b": grown(1.06, 10**6), "c": {"missing": "x"}, "d": grown(2, 10**5)}}
    assert reached(found, "memory") == ("1.060 x", False)
    assert reached({"growth": {"d": grown(1, 10**5)}}, "memory") == (None, None)


def test_the_bare_loop_bounds_the_better_placement() -> None:
    found = {
        "scenarios": {"image-500-lite0": {"targets": {"ours-inline": {"by_connections": {"16": load(80)}}}}},
        "bounds": {"image-500-lite0": {"images_per_s": 100.0}},
    }
    assert reached(found, "image 500x375, c=16: of a bare loop") == ("80 %", True)


def test_a_value_that_was_not_measured_is_none() -> None:
    assert value({}, "tabular", "ours-process", 64) is None
    assert value(document(mosec={"1": load(5)}), "overhead", "mosec", 1, "p50") == 1.0

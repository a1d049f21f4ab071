from __future__ import annotations

from typing import Any

from benchmarks.thresholds import metric, thresholds


def load(per_s: float, p50: float = 1.0, p99: float = 2.0, **more: Any) -> dict[str, Any]:
    return {"per_s": per_s, "p50": p50, "p99": p99, "requests": 100, "failed": 0, "wrong": 0, **more}


def document(**targets: dict[str, Any]) -> dict[str, Any]:
    return {"scenarios": {"overhead": {"targets": {key: {"by_connections": one} for key, one in targets.items()}}}}


def outcome(run: dict[str, Any], prefix: str) -> tuple[str | None, bool | None]:
    return next(
        (threshold.result, threshold.is_met) for threshold in thresholds(run) if threshold.measure.startswith(prefix)
    )


def test_a_threshold_without_measurements_has_no_result() -> None:
    assert {(threshold.result, threshold.is_met) for threshold in thresholds({})} == {(None, None)}


def test_a_factor_is_met_at_its_limit() -> None:
    stock = "overhead, process, c=64: throughput vs. stock"
    assert outcome(document(**{"ours-process": {"64": load(150)}, "bentoml": {"64": load(10)}}), stock) == (
        "15.0 x",
        True,
    )
    assert outcome(document(**{"ours-process": {"64": load(149)}, "bentoml": {"64": load(10)}}), stock) == (
        "14.9 x",
        False,
    )


def test_a_factor_is_met_if_the_peer_has_no_successful_request() -> None:
    run = document(**{"ours-process": {"64": load(150)}, "bentoml": {"64": load(0)}})
    assert outcome(run, "overhead, process, c=64: throughput vs. stock") == ("the peer has no successful request", True)


def test_a_latency_is_met_at_its_limit() -> None:
    run = document(**{"ours-inline": {"1": load(1, p50=0.5)}, "fastapi": {"1": load(1, p50=0.25)}})
    assert outcome(run, "overhead, inline") == ("2.00 x", True)
    run = document(**{"ours-inline": {"1": load(1, p50=0.6)}, "fastapi": {"1": load(1, p50=0.25)}})
    assert outcome(run, "overhead, inline") == ("2.40 x", False)


def test_the_tail_latency_is_that_of_the_slower_placement() -> None:
    targets = {"ours-process": {"16": load(1, 1.0, 4.0)}, "ours-inline": {"16": load(1, 1.0, 6.0)}}
    run = {"scenarios": {"tabular": {"targets": {key: {"by_connections": one} for key, one in targets.items()}}}}
    assert outcome(run, "tabular, c=16") == ("6.0", False)


def test_failed_and_wrong_requests_of_the_service_count_and_those_of_peers_do_not() -> None:
    run = document(
        **{"ours-process": {"64": load(1, failed=1), "16": load(1, wrong=1)}, "bentoml": {"64": load(1, failed=50)}}
    )
    assert outcome(run, "failed or wrong") == ("2", False)
    run["scenarios"]["overhead"]["targets"]["ours-process"]["by_connections"] = {"64": load(1)}
    run["open_loop"] = {"overhead": {"ours-inline": {"100": {"due": 10, "failed": 3, "wrong": 0}}}}
    assert outcome(run, "failed or wrong") == ("3", False)
    run["open_loop"] = {}
    assert outcome(run, "failed or wrong") == ("0", True)


def test_a_placement_that_does_not_start_is_a_failure() -> None:
    run = document(**{"ours-process": {"64": load(1)}})
    run["scenarios"]["overhead"]["targets"]["ours-inline"] = {"missing": "the server exited"}
    assert outcome(run, "failed or wrong") == ("0", False)


def test_failures_in_sweeps_and_memory_growth_count() -> None:
    run = document(**{"ours-process": {"64": load(1)}})
    run["sweeps"] = {"rows": {"1": load(1, failed=1)}, "gateways": {"2": {"ours-inline": load(1, failed=2)}}}
    run["growth"] = {"a": {"failed": 4}}
    assert outcome(run, "failed or wrong") == ("7", False)


def test_memory_growth_is_the_highest_of_the_complete_measurements() -> None:
    def grown(growth: float, requests: int) -> dict[str, Any]:
        return {"growth": growth, "failed": 0, "points": [{"requests": requests, "bytes": 1}]}

    run = {"growth": {"a": grown(1.01, 10**6), "b": grown(1.06, 10**6), "c": {"missing": "x"}, "d": grown(2, 10**5)}}
    assert outcome(run, "memory") == ("1.060 x", False)
    assert outcome({"growth": {"d": grown(1, 10**5)}}, "memory") == (None, None)


def test_the_faster_placement_is_compared_with_the_loop() -> None:
    run = {
        "scenarios": {"image-500-lite0": {"targets": {"ours-inline": {"by_connections": {"16": load(80)}}}}},
        "bounds": {"image-500-lite0": {"images_per_s": 100.0}},
    }
    assert outcome(run, "image 500x375, c=16: throughput vs. decoding") == ("80 %", True)


def test_a_metric_that_was_not_measured_is_none() -> None:
    assert metric({}, "tabular", "ours-process", 64) is None
    assert metric(document(mosec={"1": load(5)}), "overhead", "mosec", 1, "p50") == 1.0


def test_the_source_of_an_image_threshold_contains_the_hardware_limit() -> None:
    targets = {
        "ours-inline": {"by_connections": {"16": load(200)}},
        "fastapi-torch": {"by_connections": {"16": load(40)}},
    }
    run = {
        "scenarios": {"image-500-lite0": {"targets": targets}},
        "bounds": {"image-500-lite0": {"images_per_s": 220.0}},
    }
    prefix = "image 500x375, c=16: throughput vs. FastAPI"
    source = next(threshold.source for threshold in thresholds(run) if threshold.measure.startswith(prefix))
    assert source == "ours-inline 200/s, fastapi-torch 40/s, hardware limit 5.5 x"

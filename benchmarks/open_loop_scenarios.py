"""Open-loop load of the scenarios that have request rates."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from benchmarks.cases import make_cases
from benchmarks.open_loop import OpenLoopResult, open_loop
from benchmarks.options import Options
from benchmarks.rounds import MeasuredServer, StartError, alternating, settle, start, wake_up
from benchmarks.scenarios import SCENARIOS, Scenario
from benchmarks.selection import Peers, build_requests, select_targets
from benchmarks.statistics import medians
from benchmarks.validation import ResponseSampler

PART = "openloop"
# Without the baselines and the slowest peers: the closed loop describes a server that does not reach the rate.
_TARGETS = ("ours-process", "ours-inline", "mosec", "fastapi")
_ROUNDS = 1
_LENGTH = 4  # factor on the duration of a closed loop: high percentiles need more requests than a rate
_WARM_UP_S = 1.0


def measure(options: Options, peers: Peers) -> dict[str, Any]:
    """Return latencies by scenario, target and rate, or the reason why they are missing."""
    results: dict[str, Any] = {}
    for scenario in SCENARIOS:
        is_selected = not options.only or PART in options.only or options.wants(scenario.key)
        if scenario.rates_per_s and is_selected:
            print(f"> open loop, {scenario.key}", flush=True)
            try:
                results[scenario.key] = _measure(scenario, options, peers)
            except FileNotFoundError as error:
                results[scenario.key] = {"missing": str(error)}
    return results


def summary(loads: list[tuple[OpenLoopResult, int]]) -> dict[str, Any]:
    """Return medians over the rounds, and sums of failed and wrong requests."""
    rounds = [load for load, _ in loads]
    return {
        **medians([load.latency_ms for load in rounds]),
        "sent_late_p99": medians([load.sent_late_ms for load in rounds])["p99"],
        "due": sum(load.due for load in rounds),
        "failed": sum(sum(load.failed.values()) for load in rounds),
        "wrong": sum(wrong for _, wrong in loads),
        "rounds": [asdict(load) for load in rounds],
    }


def _measure(scenario: Scenario, options: Options, peers: Peers) -> dict[str, Any]:
    cases = make_cases(scenario)
    logs = options.output / "logs" / f"open-{scenario.key}"
    results: dict[str, Any] = {}
    loads: dict[str, dict[int, list[tuple[OpenLoopResult, int]]]] = {}
    with ExitStack() as stack:
        servers: list[MeasuredServer] = []
        for target in select_targets(scenario, options, peers):
            if target.key not in _TARGETS:
                continue
            try:
                measured = start(target, build_requests(target, scenario, cases), logs)
            except StartError as error:
                results[target.key] = {"missing": str(error)[:400]}
                continue
            stack.callback(measured.server.stop)
            servers.append(measured)
            _load(measured, scenario.rates_per_s[0], _WARM_UP_S)
            settle(measured)
        for number in range(_ROUNDS):
            for measured in alternating(servers, number):
                measured.server.resume()
                wake_up(measured)
                for rate in scenario.rates_per_s:
                    load = _validated_load(measured, rate, options.seconds * _LENGTH)
                    loads.setdefault(measured.target.key, {}).setdefault(rate, []).append(load)
                settle(measured)
    return results | {
        key: {str(rate): summary(rounds) for rate, rounds in by_rate.items()} for key, by_rate in loads.items()
    }


def _validated_load(measured: MeasuredServer, rate: int, seconds: float) -> tuple[OpenLoopResult, int]:
    with ResponseSampler(measured.server.port, measured.requests) as sampler:
        load = _load(measured, rate, seconds)
    latency = load.latency_ms
    print(
        f"  {measured.target.key:18} {rate:>5}/s  p50 {latency['p50']:8.2f} ms  p99 {latency['p99']:8.2f} ms  "
        f"p99.9 {latency['p99.9']:8.2f} ms  failed {sum(load.failed.values())}",
        flush=True,
    )
    return load, sampler.samples.wrong + sampler.samples.failed


def _load(measured: MeasuredServer, rate: int, seconds: float) -> OpenLoopResult:
    port = measured.server.port
    requests = [request.encoded(f"127.0.0.1:{port}") for request in measured.requests]
    return asyncio.run(open_loop(port, requests, rate_per_s=rate, seconds=seconds))

"""Fixed rates against the servers that can keep up, and what their callers wait for. Ties `open_loop` to scenarios."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from benchmarks.checks import Sampler
from benchmarks.open_loop import Paced, open_loop
from benchmarks.options import Options
from benchmarks.rounds import NotStarted, Running, alternating, settle, start, wake_up
from benchmarks.scenarios import SCENARIOS, Scenario, make_cases
from benchmarks.statistics import medians

PART = "openloop"
# The plain choices and the slowest are left out: a server that cannot keep up is described by its closed loop.
_TARGETS = ("ours-process", "ours-inline", "mosec", "fastapi")
_ROUNDS = 1
_LENGTH = 4  # in lengths of a closed load: a tail needs more requests than a rate


def measure(options: Options, peers: dict[str, Any]) -> dict[str, Any]:
    """By scenario, target and rate: latencies without coordinated omission."""
    found: dict[str, Any] = {}
    for scenario in SCENARIOS:
        wanted = options.wants(PART) if not options.only else PART in options.only or options.wants(scenario.key)
        if scenario.rates_per_s and wanted:
            print(f"> open loop, {scenario.key}", flush=True)
            try:
                found[scenario.key] = _measure(scenario, options, peers)
            except FileNotFoundError as error:
                found[scenario.key] = {"missing": str(error)}
    return found


def _measure(scenario: Scenario, options: Options, peers: dict[str, Any]) -> dict[str, Any]:
    from benchmarks.running import chosen_targets, questions

    cases = make_cases(scenario)
    chosen = [target for target in chosen_targets(scenario, options, peers) if target.key in _TARGETS]
    running: list[Running] = []
    found: dict[str, Any] = {}
    try:
        for target in chosen:
            try:
                one = start(
                    target, questions(target, scenario, cases), options.output / "logs" / f"open-{scenario.key}"
                )
            except NotStarted as error:
                found[target.key] = {"missing": str(error)[:400]}
                continue
            running.append(one)
            _pace(one, scenario.rates_per_s[0], 1.0)
            settle(one)
        seen: dict[str, dict[int, list[tuple[Paced, int]]]] = {one.target.key: {} for one in running}
        for number in range(_ROUNDS):
            for one in alternating(running, number):
                one.server.resume()
                wake_up(one)
                for rate in scenario.rates_per_s:
                    seen[one.target.key].setdefault(rate, []).append(_sampled(one, rate, options.seconds * _LENGTH))
                settle(one)
    finally:
        for one in running:
            one.server.stop()
    return found | {key: {str(rate): summary(runs) for rate, runs in by.items()} for key, by in seen.items()}


def summary(runs: list[tuple[Paced, int]]) -> dict[str, Any]:
    """Medians over rounds; failures and wrong answers added up."""
    paced = [one for one, _ in runs]
    return {
        **medians([one.latency_ms for one in paced]),
        "sent_late_p99": medians([one.sent_late_ms for one in paced])["p99"],
        "due": sum(one.due for one in paced),
        "failed": sum(sum(one.failed.values()) for one in paced),
        "wrong": sum(wrong for _, wrong in runs),
        "rounds": [asdict(one) for one in paced],
    }


def _sampled(one: Running, rate: int, seconds: float) -> tuple[Paced, int]:
    with Sampler(one.server.port, one.questions) as sampler:
        paced = _pace(one, rate, seconds)
    print(
        f"  {one.target.key:18} {rate:>5}/s  p50 {paced.latency_ms['p50']:8.2f} ms  p99 {paced.latency_ms['p99']:8.2f}"
        f" ms  p99.9 {paced.latency_ms['p99.9']:8.2f} ms  failed {sum(paced.failed.values())}",
        flush=True,
    )
    return paced, sampler.result.wrong + sampler.result.failed


def _pace(one: Running, rate: int, seconds: float) -> Paced:
    requests = [question.encoded(f"127.0.0.1:{one.server.port}") for question in one.questions]
    return asyncio.run(open_loop(one.server.port, requests, rate_per_s=rate, seconds=seconds))

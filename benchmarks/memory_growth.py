"""Memory after a million requests compared with memory after ten thousand, to detect leaks. `make bench-memory`.

This takes minutes, so it is separate from the ordinary run. The results are the section `growth` of the same document.
"""

from __future__ import annotations

import time
from typing import Any

from benchmarks import machine
from benchmarks.cases import make_cases
from benchmarks.closed_loop import closed_loop, require_wrk
from benchmarks.options import Options
from benchmarks.rounds import MeasuredServer, StartError, start
from benchmarks.scenarios import SCENARIO, Scenario
from benchmarks.selection import build_requests
from benchmarks.targets import OURS, Target, ours

_FIRST = 10_000
_CONNECTIONS = 64
_STEP_S = 10
_FIRST_STEP_S = 1
_LIMIT_S = 3600
_SCENARIOS = (SCENARIO["overhead"], SCENARIO["tabular"])


def run(options: Options) -> dict[str, Any]:
    """Load each placement of the service with `options.requests` requests and return the document."""
    document: dict[str, Any] = {"machine": machine.describe(), "load_generator": require_wrk(), "growth": {}}
    for scenario in _SCENARIOS:
        if not options.wants(scenario.key):
            continue
        for target in ours(scenario):
            if options.wants_peer(OURS, target.key):
                print(f"> memory: {scenario.key}, {target.key}, {options.requests:,} requests", flush=True)
                document["growth"][f"{scenario.key}/{target.key}"] = _measure(target, scenario, options)
    return document


def _measure(target: Target, scenario: Scenario, options: Options) -> dict[str, Any]:
    try:
        requests = build_requests(target, scenario, make_cases(scenario))
        measured = start(target, requests, options.output / "logs" / "growth")
    except (FileNotFoundError, StartError) as error:
        return {"missing": str(error)[:600]}
    try:
        return _load(measured, scenario, options.requests)
    finally:
        measured.server.stop()


def _load(measured: MeasuredServer, scenario: Scenario, total: int) -> dict[str, Any]:
    points: list[dict[str, float]] = []
    started, answered, failed = time.monotonic(), 0, 0
    while answered < total and time.monotonic() - started < _LIMIT_S:
        # Short steps before the first measurement, so that it is close to 10,000 requests.
        seconds = _FIRST_STEP_S if answered < _FIRST else _STEP_S
        load = closed_loop(measured.server.port, measured.requests, connections=_CONNECTIONS, seconds=seconds)
        answered += load.requests
        failed += sum(load.failed.values())
        if answered >= _FIRST:
            points.append({"requests": answered, "bytes": sum(measured.server.memory().values())})
            print(f"  {answered:>9,} requests  {points[-1]['bytes'] / 1e6:8.1f} MB  failed {failed}", flush=True)
        if not load.requests:
            break
    if not points:
        return {"missing": f"only {answered} requests were answered", "failed": failed}
    return {
        "scenario": scenario.key,
        "failed": failed,
        "points": points,
        "growth": points[-1]["bytes"] / points[0]["bytes"],
        "processes": measured.server.memory(),
    }

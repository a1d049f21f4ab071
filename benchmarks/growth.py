"""Memory after a million requests against memory after ten thousand: what leaks, shows. `make bench-memory`.

Takes minutes, so it is no part of the ordinary run. Its numbers go into the same document, as `growth`.
"""

from __future__ import annotations

import time
from typing import Any

from benchmarks import machine
from benchmarks.closed_loop import closed_loop, require_wrk
from benchmarks.options import Options
from benchmarks.rounds import NotStarted, Running, start
from benchmarks.scenarios import SCENARIOS, Scenario, make_cases

FIRST = 10_000
_CONNECTIONS = 64
_STEP_S = 10
_LIMIT_S = 3600
_SCENARIOS = ("overhead", "tabular")


def run(options: Options) -> dict[str, Any]:
    """Load each placement of the service until it has answered `options.requests`; the document with the result."""
    from benchmarks.running import questions
    from benchmarks.targets import OURS, ours

    document: dict[str, Any] = {"machine": machine.describe(), "load_generator": require_wrk(), "growth": {}}
    for scenario in SCENARIOS:
        if scenario.key not in _SCENARIOS or not options.wants(scenario.key):
            continue
        for target in ours(scenario):
            if not options.wants_peer(OURS, target.key):
                continue
            print(f"> memory: {scenario.key}, {target.key}, {options.requests:,} requests", flush=True)
            key = f"{scenario.key}/{target.key}"
            try:
                asked = questions(target, scenario, make_cases(scenario))
                one = start(target, asked, options.output / "logs" / "growth")
            except (FileNotFoundError, NotStarted) as error:
                document["growth"][key] = {"missing": str(error)[:600]}
                continue
            try:
                document["growth"][key] = _grow(one, scenario, options.requests)
            finally:
                one.server.stop()
    return document


def _grow(one: Running, scenario: Scenario, until: int) -> dict[str, Any]:
    points: list[dict[str, float]] = []
    began, answered, failed = time.monotonic(), 0, 0
    while answered < until and time.monotonic() - began < _LIMIT_S:
        # In short steps up to the first measuring point, so that it is not overshot by much.
        seconds = 1 if answered < FIRST else _STEP_S
        load = closed_loop(one.server.port, one.questions, connections=_CONNECTIONS, seconds=seconds)
        answered += load.requests
        failed += sum(load.failed.values())
        if answered >= FIRST:
            points.append({"requests": answered, "bytes": sum(one.server.memory().values())})
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
        "processes": one.server.memory(),
    }

"""One complete run of the benchmark, as one JSON document."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks import cold_start, container, hardware_limit, machine, open_loop_scenarios, sweeps
from benchmarks.cases import make_cases
from benchmarks.closed_loop import require_wrk
from benchmarks.options import Options
from benchmarks.results import Document, save
from benchmarks.rounds import Plan, run_rounds
from benchmarks.scenarios import SCENARIOS, Scenario
from benchmarks.selection import build_requests, install_peers, select_targets


def run(options: Options) -> Document:
    """Measure the selected scenarios and parts. A part that cannot be measured contains the reason."""
    started = time.perf_counter()
    document: Document = {
        "machine": machine.describe(),
        "load_generator": require_wrk(),
        "options": _described(options),
        "peers": install_peers(options),
        "scenarios": {},
    }
    peers = document["peers"]
    for scenario in SCENARIOS:
        if options.wants(scenario.key):
            print(f"> {scenario.key}: {scenario.title}", flush=True)
            document["scenarios"][scenario.key] = measure(scenario, options, peers)
            save(document, options.output)
    parts: dict[str, Callable[[], Document]] = {
        "bounds": lambda: hardware_limit.measure(options),
        "open_loop": lambda: open_loop_scenarios.measure(options, peers),
        "sweeps": lambda: sweeps.measure(options),
        "starts": lambda: cold_start.measure(options, peers),
        "container": container.measure,
    }
    for name, part in parts.items():
        document[name] = part()
        document["took_s"] = round(time.perf_counter() - started)
        # After each part, so that an error late in a long run does not lose the earlier results.
        save(document, options.output)
    return document


def measure(scenario: Scenario, options: Options, peers: Document) -> Document:
    """Measure one scenario in a closed loop."""
    try:
        cases = make_cases(scenario)
        targets = select_targets(scenario, options, peers)
    except FileNotFoundError as error:
        print(f"  skipped: {error}", flush=True)
        return {"title": scenario.title, "missing": str(error)}
    requests = [(target, build_requests(target, scenario, cases)) for target in targets]
    plan = Plan(options.rounds, options.seconds * scenario.length)
    logs = options.output / "logs" / scenario.key
    return {"title": scenario.title, "targets": run_rounds(requests, scenario.connections, plan, logs)}


def _described(options: Options) -> Document:
    return {
        "only": list(options.only),
        "peers": list(options.peers),
        "rounds": options.rounds,
        "seconds": options.seconds,
    }

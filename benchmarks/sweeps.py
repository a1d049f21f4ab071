"""How the service scales: rows in one request, size of the catalogue, number of gateways. Ours alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from benchmarks.closed_loop import closed_loop
from benchmarks.options import Options
from benchmarks.payloads import put
from benchmarks.questions import Question
from benchmarks.rounds import NotStarted, Running, start
from benchmarks.scenarios import SCENARIOS, Scenario, make_cases, tabular_cases
from benchmarks.statistics import medians
from benchmarks.targets import OURS, Target, ours

ROWS = (1, 3, 10, 30, 100, 300, 1000)
CATALOGUES = (1_000, 10_000, 100_000, 1_000_000)
GATEWAYS = (1, 2)
_ROW_REQUESTS = 8
# Well below the rows that may wait in the service's queue, so that nothing is shed.
_ROWS_UNDER_WAY = 2048
_ROUNDS = 1
_SCENARIO = {scenario.key: scenario for scenario in SCENARIOS}


def measure(options: Options) -> dict[str, Any]:
    """Each sweep that is asked for, or why it was not measured."""
    sweeps: dict[str, Callable[[Options], Any]] = {"rows": _rows, "catalogue": _catalogue, "gateways": _gateways}
    found: dict[str, Any] = {}
    for name, sweep in sweeps.items():
        if options.wants(name) and options.wants_peer(OURS, OURS):
            print(f"> sweep: {name}", flush=True)
            try:
                found[name] = sweep(options)
            except (FileNotFoundError, NotStarted) as error:
                print(f"  left out: {str(error)[:300]}", flush=True)
                found[name] = {"missing": str(error)[:600]}
    return found


def _rows(options: Options) -> Any:
    """Requests and rows a second by rows in a request, at 16 connections, fewer where requests are large."""
    scenario = _SCENARIO["tabular"]
    folder = scenario.artifact()
    if folder is None:
        raise FileNotFoundError("no tabular artifact")
    classes = _classes(scenario)
    target = ours(scenario)[0]
    asked = {
        rows: [
            put("ours", "tabular", case, classes=classes)
            for case in tabular_cases(folder, rows=rows, count=_ROW_REQUESTS)
        ]
        for rows in ROWS
    }
    one = start(target, asked[1], options.output / "logs" / "rows")
    try:
        return {str(rows): _load(one, asked[rows], options, min(16, _ROWS_UNDER_WAY // rows), rows) for rows in ROWS}
    finally:
        one.server.stop()


def _catalogue(options: Options) -> Any:
    """Requests a second by items in the catalogue, at 16 connections."""
    found = {}
    for items in CATALOGUES:
        scenario = replace(_SCENARIO["recommender-1m"], key=f"catalogue-{items}", catalogue=items)
        target = ours(scenario)[0]
        questions = [put("ours", "recommender", case) for case in make_cases(scenario)]
        one = start(target, questions, options.output / "logs" / f"catalogue-{items}")
        try:
            found[str(items)] = _load(one, questions, options, 16, 1, length=scenario.length) | {
                "start_s": round(one.start_s, 2),
                "memory_bytes": sum(one.server.memory().values()),
            }
        finally:
            one.server.stop()
    return found


def _gateways(options: Options) -> Any:
    """Requests a second of the tabular scenario by number of gateway processes, at 64 connections."""
    scenario = _SCENARIO["tabular"]
    questions = [put("ours", "tabular", case, classes=_classes(scenario)) for case in make_cases(scenario)]
    found: dict[str, Any] = {}
    for count in GATEWAYS:
        for target in _with_gateways(scenario, count):
            one = start(target, questions, options.output / "logs" / "gateways")
            try:
                found.setdefault(str(count), {})[target.key] = _load(one, questions, options, 64, 1)
            finally:
                one.server.stop()
    return found


def _with_gateways(scenario: Scenario, count: int) -> Iterable[Target]:
    return ours(scenario, gateways=count)


def _classes(scenario: Scenario) -> tuple[str, ...]:
    from benchmarks.artifacts import read_card

    folder = scenario.artifact()
    return () if folder is None else tuple(read_card(folder)["classes"])


def _load(
    one: Running, questions: list[Question], options: Options, connections: int, rows: int, *, length: int = 1
) -> dict[str, Any]:
    port = one.server.port
    closed_loop(port, questions, connections=connections, seconds=1)
    loads = [
        closed_loop(port, questions, connections=connections, seconds=options.seconds * length) for _ in range(_ROUNDS)
    ]
    found = medians([{"per_s": load.answered_per_s, **load.latency_ms} for load in loads])
    failed = sum(sum(load.failed.values()) for load in loads)
    print(
        f"  {one.target.key:22} x{rows:<8} {found['per_s']:9.1f}/s  p99 {found.get('p99', 0):8.2f} ms  failed {failed}",
        flush=True,
    )
    return {**found, "connections": connections, "rows_per_s": found["per_s"] * rows, "failed": failed}

"""Scaling of the service: rows per request, size of the catalogue, number of gateways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmarks.cases import make_cases, tabular_cases
from benchmarks.closed_loop import closed_loop
from benchmarks.http_request import HttpRequest
from benchmarks.options import Options
from benchmarks.rounds import MeasuredServer, StartError, start
from benchmarks.scenarios import SCENARIO
from benchmarks.selection import build_requests
from benchmarks.targets import OURS, ours

ROWS = (1, 3, 10, 30, 100, 300, 1000)
CATALOGUES = (1_000, 10_000, 100_000, 1_000_000)
GATEWAYS = (1, 2)
_ROW_REQUESTS = 8
_CONNECTIONS = 16
_GATEWAY_CONNECTIONS = 64
# Well below the queue limit of the service in rows, so that no request is rejected.
_MAX_ROWS_IN_FLIGHT = 2048
_WARM_UP_S = 1


def measure(options: Options) -> dict[str, Any]:
    """Return the results of the selected sweeps, or the reason why a sweep was not measured."""
    sweeps: dict[str, Callable[[Options], Any]] = {"rows": _rows, "catalogue": _catalogue, "gateways": _gateways}
    results: dict[str, Any] = {}
    for name, sweep in sweeps.items():
        if options.wants(name) and options.wants_peer(OURS, OURS):
            print(f"> sweep: {name}", flush=True)
            try:
                results[name] = sweep(options)
            except (FileNotFoundError, StartError) as error:
                print(f"  skipped: {str(error)[:300]}", flush=True)
                results[name] = {"missing": str(error)[:600]}
    return results


def _rows(options: Options) -> Any:
    """Return throughput by rows per request, with at most 16 connections and 2,048 rows in flight."""
    scenario = SCENARIO["tabular"]
    folder = scenario.artifact()
    if folder is None:
        raise FileNotFoundError("no tabular artifact")
    target = ours(scenario)[0]
    requests = {
        rows: build_requests(target, scenario, tabular_cases(folder, rows=rows, count=_ROW_REQUESTS)) for rows in ROWS
    }
    measured = start(target, requests[1], options.output / "logs" / "rows")
    try:
        return {
            str(rows): _load(
                measured, requests[rows], options.seconds, min(_CONNECTIONS, _MAX_ROWS_IN_FLIGHT // rows), rows
            )
            for rows in ROWS
        }
    finally:
        measured.server.stop()


def _catalogue(options: Options) -> Any:
    """Return throughput by number of items in the catalogue."""
    results = {}
    for items in CATALOGUES:
        scenario = replace(SCENARIO["recommender-1m"], key=f"catalogue-{items}", catalogue=items)
        target = ours(scenario)[0]
        requests = build_requests(target, scenario, make_cases(scenario))
        measured = start(target, requests, options.output / "logs" / f"catalogue-{items}")
        try:
            results[str(items)] = _load(measured, requests, options.seconds * scenario.length, _CONNECTIONS) | {
                "start_s": round(measured.start_s, 2),
                "memory_bytes": sum(measured.server.memory().values()),
            }
        finally:
            measured.server.stop()
    return results


def _gateways(options: Options) -> Any:
    """Return throughput of the tabular scenario by number of gateway processes."""
    scenario = SCENARIO["tabular"]
    cases = make_cases(scenario)
    results: dict[str, Any] = {}
    for count in GATEWAYS:
        for target in ours(scenario, gateways=count):
            requests = build_requests(target, scenario, cases)
            measured = start(target, requests, options.output / "logs" / "gateways")
            try:
                load = _load(measured, requests, options.seconds, _GATEWAY_CONNECTIONS)
                results.setdefault(str(count), {})[target.key] = load
            finally:
                measured.server.stop()
    return results


def _load(
    measured: MeasuredServer, requests: list[HttpRequest], seconds: float, connections: int, rows: int = 1
) -> dict[str, Any]:
    port = measured.server.port
    closed_loop(port, requests, connections=connections, seconds=_WARM_UP_S)
    load = closed_loop(port, requests, connections=connections, seconds=seconds)
    failed = sum(load.failed.values())
    print(
        f"  {measured.target.key:22} x{rows:<8} {load.successful_per_s:9.1f}/s  "
        f"p99 {load.latency_ms.get('p99', 0):8.2f} ms  failed {failed}",
        flush=True,
    )
    return {
        "per_s": load.successful_per_s,
        **load.latency_ms,
        "connections": connections,
        "rows_per_s": load.successful_per_s * rows,
        "failed": failed,
    }

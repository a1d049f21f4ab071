"""Rounds of one scenario: all servers run, one is measured at a time, and the order alternates between rounds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.closed_loop import ClosedLoopResult, closed_loop
from benchmarks.http_request import HttpRequest, send, wait_until_ready
from benchmarks.servers import Server
from benchmarks.statistics import medians, spread
from benchmarks.targets import Target
from benchmarks.validation import ResponseSampler, Samples, validate

_START_TIMEOUT_S = 90.0
_WARM_UP_S = 1.0
_WARM_UP_CONNECTIONS = 16
_WAKE_UP_S = 0.3
# wrk closes its connections while requests are in flight. If the server is paused during such a request, an adaptive
# batcher (BentoML) measures the pause as its duration and no longer waits for batches.
_SETTLE_S = 0.3

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Plan:
    """Number of rounds, and the duration of one load in seconds."""

    rounds: int = 3
    seconds: float = 2.0


@dataclass(slots=True)
class MeasuredServer:
    """A running server, its requests and its measurements."""

    target: Target
    server: Server
    requests: list[HttpRequest]
    start_s: float
    loads: dict[int, list[ClosedLoopResult]] = field(default_factory=dict)
    samples: dict[int, list[Samples]] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)


class StartError(Exception):
    """A server does not respond in time; the message contains the end of its log."""


def start(target: Target, requests: Sequence[HttpRequest], logs: Path) -> MeasuredServer:
    """Start a server and wait for its first successful response. Raises StartError."""
    server = Server(target.command, env=target.env, folder=target.folder, log=logs / f"{target.key}.log")
    started = time.perf_counter()
    try:
        wait_until_ready(server.port, requests[0], timeout_s=_START_TIMEOUT_S, is_alive=server.is_alive)
    except TimeoutError as error:
        server.stop()
        raise StartError(f"{error}; log: ...{server.log_tail()}") from error
    except BaseException:
        server.stop()
        raise
    start_s = time.perf_counter() - started
    if target.is_self_validated:
        requests = [replace(request, expected=request.decode(send(server.port, request))) for request in requests]
    return MeasuredServer(target, server, list(requests), start_s)


def run_rounds(
    targets: Sequence[tuple[Target, list[HttpRequest]]], connections: Sequence[int], plan: Plan, logs: Path
) -> dict[str, dict[str, Any]]:
    """Measure targets in turn. Returns `result` by target, or the reason why a target was not measured."""
    results: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        servers: list[MeasuredServer] = []
        for target, requests in targets:
            try:
                measured = start(target, requests, logs)
            except StartError as error:
                print(f"  {target.key}: does not start: {str(error)[:300]}", flush=True)
                results[target.key] = {"peer": target.peer, "note": target.note, "missing": str(error)[:900]}
                continue
            stack.callback(measured.server.stop)
            servers.append(measured)
            print(f"  {target.key}: started in {measured.start_s:.1f} s", flush=True)
            _warm_up(measured)
            settle(measured)
        for number in range(plan.rounds):
            for measured in alternating(servers, number):
                measured.server.resume()
                _measure(measured, connections, plan)
                settle(measured)
    return results | {measured.target.key: result(measured) for measured in servers}


def alternating(items: Sequence[Item], number: int) -> list[Item]:
    """Return the order of round `number`: forward in even rounds, reversed in odd ones."""
    return list(items) if number % 2 == 0 else list(reversed(items))


def settle(measured: MeasuredServer) -> None:
    """Wait for requests in flight, then pause the server."""
    time.sleep(_SETTLE_S)
    measured.server.pause()


def wake_up(measured: MeasuredServer) -> None:
    """Send requests that do not count: connections inside a server may have expired during the pause."""
    until = time.monotonic() + _WAKE_UP_S
    ignored, number = Samples(), 0
    while time.monotonic() < until:
        validate(measured.server.port, measured.requests[number % len(measured.requests)], ignored)
        number += 1


def result(measured: MeasuredServer) -> dict[str, Any]:
    """Return the measurements of one server as JSON."""
    return {
        "peer": measured.target.peer,
        "note": measured.target.note,
        "start_s": round(measured.start_s, 2),
        "memory_bytes": measured.memory,
        "by_connections": {
            str(count): summary(loads, measured.samples[count]) for count, loads in sorted(measured.loads.items())
        },
    }


def summary(loads: Sequence[ClosedLoopResult], samples: Sequence[Samples]) -> dict[str, Any]:
    """Return medians over the rounds, and sums of failed and wrong requests, for one number of connections."""
    failed: dict[str, int] = {}
    for load in loads:
        for kind, count in load.failed.items():
            failed[kind] = failed.get(kind, 0) + count
    if failed_samples := sum(sample.failed for sample in samples):
        failed["sampled"] = failed_samples
    return {
        **medians([{"per_s": load.successful_per_s, **load.latency_ms} for load in loads]),
        "spread": spread([load.successful_per_s for load in loads]),
        "requests": sum(load.requests for load in loads),
        "failed": sum(failed.values()),
        "failed_by_kind": failed,
        "sampled": sum(sample.sent for sample in samples),
        "wrong": sum(sample.wrong for sample in samples),
        "faults": [error for sample in samples for error in sample.errors][:3],
        "rounds": [asdict(load) for load in loads],
    }


def _warm_up(measured: MeasuredServer) -> None:
    closed_loop(measured.server.port, measured.requests, connections=_WARM_UP_CONNECTIONS, seconds=_WARM_UP_S)


def _measure(measured: MeasuredServer, connections: Sequence[int], plan: Plan) -> None:
    wake_up(measured)
    port, requests = measured.server.port, measured.requests
    for count in connections:
        with ResponseSampler(port, requests) as sampler:
            load = closed_loop(port, requests, connections=count, seconds=plan.seconds)
        measured.loads.setdefault(count, []).append(load)
        measured.samples.setdefault(count, []).append(sampler.samples)
        failures = sum(load.failed.values()) + sampler.samples.failed + sampler.samples.wrong
        p50, p99 = (load.latency_ms.get(name, 0.0) for name in ("p50", "p99"))
        print(
            f"  {measured.target.key:18} c={count:<4} {load.successful_per_s:9.1f}/s  p50 {p50:8.2f} ms  "
            f"p99 {p99:8.2f} ms  failed or wrong {failures}",
            flush=True,
        )
    measured.memory = measured.server.memory()

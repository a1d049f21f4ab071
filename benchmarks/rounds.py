"""Rounds of one scenario: every server up, one measured at a time, the order turned round every other round.

Knows servers and loads, not what is asked or how it is reported.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.checks import Sampled, Sampler, check
from benchmarks.closed_loop import Load, closed_loop
from benchmarks.questions import Question, ask, ask_until_right
from benchmarks.servers import Server
from benchmarks.statistics import medians, spread
from benchmarks.targets import Target

_READY_S = 90.0
_WARM_UP_S = 1.0
_WARM_UP_CONNECTIONS = 16
_WAKE_UP_S = 0.3
# wrk hangs up with requests under way. A server that is paused with one inside takes the pause for that request's
# time, and a batcher that learns from times (BentoML's) then waits for nothing.
_SETTLE_S = 0.3


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. `seconds` is the length of one load."""

    rounds: int = 3
    seconds: float = 2.0


@dataclass(slots=True)
class Running:
    """A started server, what it is asked, and what was seen so far."""

    target: Target
    server: Server
    questions: list[Question]
    start_s: float
    loads: dict[int, list[Load]] = field(default_factory=dict)
    sampled: dict[int, list[Sampled]] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)


class NotStarted(Exception):
    """A server did not answer in time; the message holds the end of what it printed."""


def start(target: Target, questions: Sequence[Question], logs: Path) -> Running:
    """Start a server and wait for its first readable answer. Raises NotStarted."""
    server = Server(target.command, env=target.env, folder=target.folder, log=logs / f"{target.key}.log")
    began = time.perf_counter()
    try:
        ask_until_right(server.port, questions[0], timeout_s=_READY_S, alive=server.is_alive)
    except TimeoutError as error:
        server.stop()
        raise NotStarted(f"{error}; it printed: ...{server.log_tail()}") from error
    except BaseException:
        server.stop()
        raise
    took = time.perf_counter() - began
    asked = list(questions)
    if target.is_own_judge:
        asked = [replace(question, expected=question.read(ask(server.port, question))) for question in asked]
    return Running(target, server, asked, took)


def run_rounds(
    targets: Sequence[tuple[Target, list[Question]]], connections: Sequence[int], plan: Plan, logs: Path
) -> dict[str, dict[str, Any]]:
    """Measure targets in turn; by target, what `result` gives, or why it was not measured."""
    found: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        running: list[Running] = []
        for target, questions in targets:
            try:
                one = start(target, questions, logs)
            except NotStarted as error:
                print(f"  {target.key}: does not start: {str(error)[:300]}", flush=True)
                found[target.key] = {"peer": target.peer, "note": target.note, "missing": str(error)[:900]}
                continue
            stack.callback(one.server.stop)
            running.append(one)
            print(f"  {target.key}: up in {one.start_s:.1f} s", flush=True)
            _warm_up(one)
            settle(one)
        for number in range(plan.rounds):
            for one in alternating(running, number):
                one.server.resume()
                _measure(one, connections, plan)
                settle(one)
    return found | {one.target.key: result(one) for one in running}


def alternating(running: Sequence[Any], number: int) -> list[Any]:  # Any: whatever is put in order
    """The order of round `number`: forwards, then backwards, and so on, so that no one is always first."""
    return list(running) if number % 2 == 0 else list(reversed(running))


def settle(one: Running) -> None:
    """Let what is under way end, then pause the server."""
    time.sleep(_SETTLE_S)
    one.server.pause()


def wake_up(one: Running) -> None:
    """Ask for a moment without counting: connections inside a server went stale while it was paused."""
    until = time.monotonic() + _WAKE_UP_S
    unused, turn = Sampled(), 0
    while time.monotonic() < until:
        check(one.server.port, one.questions[turn % len(one.questions)], unused)
        turn += 1


def result(one: Running) -> dict[str, Any]:
    """What was seen of one target, as JSON: medians of the rounds, the rounds themselves, failures added up."""
    return {
        "peer": one.target.peer,
        "note": one.target.note,
        "start_s": round(one.start_s, 2),
        "memory_bytes": one.memory,
        "by_connections": {
            str(count): summary(loads, one.sampled[count]) for count, loads in sorted(one.loads.items())
        },
    }


def summary(loads: Sequence[Load], sampled: Sequence[Sampled]) -> dict[str, Any]:
    """Medians over rounds of one number of connections; failures and wrong answers are added up, never averaged."""
    rates = [load.answered_per_s for load in loads]
    failed: dict[str, int] = {}
    for load in loads:
        for kind, count in load.failed.items():
            failed[kind] = failed.get(kind, 0) + count
    unanswered = sum(one.failed for one in sampled)
    return {
        **medians([{"per_s": load.answered_per_s, **load.latency_ms} for load in loads]),
        "spread": spread(rates),
        "requests": sum(load.requests for load in loads),
        "failed": sum(failed.values()) + unanswered,
        "failed_by_kind": {**failed, **({"sampled": unanswered} if unanswered else {})},
        "sampled": sum(one.asked for one in sampled),
        "wrong": sum(one.wrong for one in sampled),
        "faults": [fault for one in sampled for fault in one.faults or []][:3],
        "rounds": [asdict(load) for load in loads],
    }


def _warm_up(one: Running) -> None:
    closed_loop(one.server.port, one.questions, connections=_WARM_UP_CONNECTIONS, seconds=_WARM_UP_S)


def _measure(one: Running, connections: Sequence[int], plan: Plan) -> None:
    wake_up(one)
    for count in connections:
        with Sampler(one.server.port, one.questions) as sampler:
            load = closed_loop(one.server.port, one.questions, connections=count, seconds=plan.seconds)
        one.loads.setdefault(count, []).append(load)
        one.sampled.setdefault(count, []).append(sampler.result)
        bad = sum(load.failed.values()) + sampler.result.failed + sampler.result.wrong
        p50, p99 = (load.latency_ms.get(name, 0.0) for name in ("p50", "p99"))
        print(
            f"  {one.target.key:18} c={count:<4} {load.answered_per_s:9.1f}/s  p50 {p50:8.2f} ms  p99 {p99:8.2f} ms"
            f"  failed or wrong {bad}",
            flush=True,
        )
    one.memory = one.server.memory()

"""Requests at a fixed rate, whether or not the server keeps up; latency from the moment a request was due.

A closed loop waits for a slow answer before it asks again, and so leaves out just the requests that would have waited
("coordinated omission", Gil Tene). Here the moments are fixed beforehand. A request that finds no connection free waits
in a queue of ours, and that wait counts. Knows HTTP/1.1 responses, no scenario.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import httptools

from benchmarks.statistics import percentiles

_CONNECTIONS = 512
_DRAIN_S = 10.0
_CLOCK_MONOTONIC = 1
_NONBLOCKING = os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Paced:
    """What one run saw. `latency_ms` counts every request that was due, those without an answer with the time waited.

    `sent_late_ms` is how long after its moment a request went out while a connection was free: the generator's own
    fault, which has to be small beside the latencies.
    """

    rate_per_s: float
    due: int
    answered: int
    failed: dict[str, int]
    latency_ms: dict[str, float]
    sent_late_ms: dict[str, float]


@dataclass(slots=True)
class _Run:
    requests: Sequence[bytes]
    connections: int
    host: str
    port: int
    latencies_s: list[float] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)
    failed: dict[str, int] = field(default_factory=dict)
    idle: list[_Connection] = field(default_factory=list)
    waiting: deque[tuple[int, float]] = field(default_factory=deque)
    in_flight: dict[_Connection, float] = field(default_factory=dict)
    opening: int = 0
    answered: int = 0

    def fail(self, kind: str, due: float) -> None:
        self.failed[kind] = self.failed.get(kind, 0) + 1
        self.latencies_s.append(time.monotonic() - due)

    def opened(self) -> int:
        return len(self.idle) + len(self.in_flight) + self.opening


class _Connection(asyncio.Protocol):
    """One kept connection with at most one request on it."""

    def __init__(self, run: _Run) -> None:
        self.run = run
        self.due = 0.0
        self.transport: asyncio.Transport | None = None
        self.parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  (for the type checker)
        self.transport = transport

    def send(self, number: int, due: float) -> None:
        self.due = due
        self.run.in_flight[self] = due
        assert self.transport is not None  # noqa: S101  (for the type checker)
        self.transport.write(self.run.requests[number % len(self.run.requests)])

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._drop("malformed")

    def on_message_complete(self) -> None:
        run = self.run
        if run.in_flight.pop(self, None) is None:
            return
        if 200 <= self.parser.get_status_code() < 300:
            run.answered += 1
            run.latencies_s.append(time.monotonic() - self.due)
        else:
            run.fail("status", self.due)
        if not self.parser.should_keep_alive():
            self._drop(None)
            return
        self.parser = httptools.HttpResponseParser(self)
        if run.waiting:
            self.send(*run.waiting.popleft())
        else:
            run.idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self.run.idle:
            self.run.idle.remove(self)
        if (due := self.run.in_flight.pop(self, None)) is not None:
            self.run.fail("closed", due)
        _send_waiting(self.run)

    def _drop(self, kind: str | None) -> None:
        if kind and (due := self.run.in_flight.pop(self, None)) is not None:
            self.run.fail(kind, due)
        if self.transport is not None:
            self.transport.abort()


async def open_loop(
    port: int,
    requests: Sequence[bytes],
    *,
    rate_per_s: float,
    seconds: float,
    connections: int = _CONNECTIONS,
    drain_s: float = _DRAIN_S,
    host: str = "127.0.0.1",
) -> Paced:
    """Send `requests` in turn, evenly spaced, for `seconds`; then wait `drain_s` at most for what is still out."""
    run = _Run(requests, connections, host, port)
    count = max(1, round(rate_per_s * seconds))
    start = time.monotonic() + 0.05
    was_collecting = gc.isenabled()
    gc.disable()
    try:
        await _Schedule(run, [start + number / rate_per_s for number in range(count)]).play()
        deadline = time.monotonic() + drain_s
        while (run.in_flight or run.waiting or run.opening) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        for due in [*run.in_flight.values(), *(due for _, due in run.waiting)]:
            run.fail("timeout", due)
    finally:
        if was_collecting:
            gc.enable()
        for connection in [*run.idle, *run.in_flight]:
            run.in_flight.pop(connection, None)
            if connection.transport is not None:
                connection.transport.abort()
    run.waiting.clear()
    await asyncio.sleep(0)
    return Paced(
        rate_per_s=rate_per_s,
        due=count,
        answered=run.answered,
        failed=dict(run.failed),
        latency_ms={name: value * 1e3 for name, value in percentiles(run.latencies_s).items()},
        sent_late_ms={name: value * 1e3 for name, value in percentiles(run.late_s or [0.0]).items()},
    )


class _Schedule:
    """Sends at the given moments. A timerfd wakes it: the event loop's own timers are a millisecond coarse."""

    def __init__(self, run: _Run, moments: list[float]) -> None:
        self._run = run
        self._moments = moments
        self._next = 0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._libc = ctypes.CDLL(None, use_errno=True)

    async def play(self) -> None:
        loop = asyncio.get_running_loop()
        descriptor = self._libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCKING)
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        try:
            loop.add_reader(descriptor, self._wake, descriptor)
            self._arm(descriptor)
            await self._done
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)

    def _wake(self, descriptor: int) -> None:
        try:
            os.read(descriptor, 8)
        except BlockingIOError:
            return
        now = time.monotonic()
        while self._next < len(self._moments) and self._moments[self._next] <= now:
            _dispatch(self._run, self._next, self._moments[self._next], now)
            self._next += 1
        if self._next < len(self._moments):
            self._arm(descriptor)
        elif not self._done.done():
            self._done.set_result(None)

    def _arm(self, descriptor: int) -> None:
        wait_ns = max(1, int((self._moments[self._next] - time.monotonic()) * 1e9))
        # struct itimerspec: interval (s, ns), then first expiry (s, ns).
        spec = (ctypes.c_long * 4)(0, 0, wait_ns // 1_000_000_000, wait_ns % 1_000_000_000)
        if self._libc.timerfd_settime(descriptor, 0, ctypes.byref(spec), None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")


def _dispatch(run: _Run, number: int, due: float, now: float) -> None:
    if run.idle:
        run.late_s.append(now - due)
        run.idle.pop().send(number, due)
        return
    run.waiting.append((number, due))
    _open_if_allowed(run)


def _send_waiting(run: _Run) -> None:
    while run.waiting and run.idle:
        run.idle.pop().send(*run.waiting.popleft())
    _open_if_allowed(run)


def _open_if_allowed(run: _Run) -> None:
    # One connection per waiting request, and no more than are allowed.
    if run.opening < len(run.waiting) and run.opened() < run.connections:
        run.opening += 1
        asyncio.get_running_loop().create_task(_open(run))


async def _open(run: _Run) -> None:
    try:
        _, connection = await asyncio.get_running_loop().create_connection(lambda: _Connection(run), run.host, run.port)
    except OSError:
        run.opening -= 1
        if run.waiting:
            run.fail("connect", run.waiting.popleft()[1])
        return
    run.opening -= 1
    if run.waiting:
        connection.send(*run.waiting.popleft())
    else:
        run.idle.append(connection)

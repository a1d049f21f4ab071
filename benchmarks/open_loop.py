"""Open-loop load: requests at a fixed rate that does not depend on the server. Latency counts from the due time.

A closed loop waits for a slow response before it sends the next request. It omits the requests that would have waited
("coordinated omission", Gil Tene). Here the due times are fixed in advance. A request that finds no idle connection
waits in a queue of the generator, and this time counts.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import httptools

from benchmarks.statistics import percentiles
from benchmarks.timerfd import Schedule

_CONNECTIONS = 512
_DRAIN_S = 10.0
_START_DELAY_S = 0.05


@dataclass(frozen=True, slots=True)
class OpenLoopResult:
    """Result of one load. `latency_ms` includes failed requests, with the time until the failure.

    `sent_late_ms` is the delay between the due time and the send time while a connection was idle: the error of the
    generator, which must be small compared with the latencies.
    """

    rate_per_s: float
    due: int
    answered: int
    failed: dict[str, int]
    latency_ms: dict[str, float]
    sent_late_ms: dict[str, float]


async def open_loop(
    port: int,
    requests: Sequence[bytes],
    *,
    rate_per_s: float,
    seconds: float,
    connections: int = _CONNECTIONS,
    drain_s: float = _DRAIN_S,
    host: str = "127.0.0.1",
) -> OpenLoopResult:
    """Send `requests` in turn at even intervals for `seconds`, then wait at most `drain_s` for the last responses."""
    load = _Load(requests, connections, host, port)
    count = max(1, round(rate_per_s * seconds))
    start = time.monotonic() + _START_DELAY_S
    gc_was_enabled = gc.isenabled()
    gc.disable()
    try:
        await Schedule([start + number / rate_per_s for number in range(count)], load.dispatch).run()
        await load.drain(drain_s)
    finally:
        if gc_was_enabled:
            gc.enable()
        load.close()
    await asyncio.sleep(0)
    return OpenLoopResult(
        rate_per_s=rate_per_s,
        due=count,
        answered=load.answered,
        failed=dict(load.failed),
        latency_ms=_milliseconds(load.latencies_s),
        sent_late_ms=_milliseconds(load.late_s or [0.0]),
    )


def _milliseconds(values_s: Sequence[float]) -> dict[str, float]:
    return {name: value * 1e3 for name, value in percentiles(values_s).items()}


@dataclass(slots=True)
class _Load:
    """State of one load: its connections, queue and measurements."""

    requests: Sequence[bytes]
    connections: int
    host: str
    port: int
    latencies_s: list[float] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)
    failed: dict[str, int] = field(default_factory=dict)
    idle: list[_Connection] = field(default_factory=list)
    queue: deque[tuple[int, float]] = field(default_factory=deque)
    in_flight: dict[_Connection, float] = field(default_factory=dict)
    opening: int = 0
    answered: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def dispatch(self, number: int, due: float, now: float) -> None:
        if self.idle:
            self.late_s.append(now - due)
            self.idle.pop().send(number, due)
            return
        self.queue.append((number, due))
        self._open_if_allowed()

    def succeed(self, due: float) -> None:
        self.answered += 1
        self.latencies_s.append(time.monotonic() - due)

    def fail(self, kind: str, due: float) -> None:
        self.failed[kind] = self.failed.get(kind, 0) + 1
        self.latencies_s.append(time.monotonic() - due)

    def release(self, connection: _Connection) -> None:
        """Send the next queued request on a connection, or mark it as idle."""
        if self.queue:
            connection.send(*self.queue.popleft())
        else:
            self.idle.append(connection)

    def lost(self, connection: _Connection) -> None:
        """Remove a closed connection and replace it if requests wait."""
        if connection in self.idle:
            self.idle.remove(connection)
        if (due := self.in_flight.pop(connection, None)) is not None:
            self.fail("closed", due)
        while self.queue and self.idle:
            self.idle.pop().send(*self.queue.popleft())
        self._open_if_allowed()

    async def drain(self, timeout_s: float) -> None:
        """Wait for the last responses. Requests without one fail with "timeout"."""
        deadline = time.monotonic() + timeout_s
        while (self.in_flight or self.queue or self.opening) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        for due in [*self.in_flight.values(), *(due for _, due in self.queue)]:
            self.fail("timeout", due)

    def close(self) -> None:
        """Close all connections."""
        for connection in [*self.idle, *self.in_flight]:
            self.in_flight.pop(connection, None)
            connection.abort()
        self.queue.clear()

    def _open_if_allowed(self) -> None:
        # At most one new connection per queued request.
        opened = len(self.idle) + len(self.in_flight) + self.opening
        if self.opening < len(self.queue) and opened < self.connections:
            self.opening += 1
            task = asyncio.get_running_loop().create_task(self._open())
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _open(self) -> None:
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: _Connection(self), self.host, self.port
            )
        except OSError:
            self.opening -= 1
            if self.queue:
                self.fail("connect", self.queue.popleft()[1])
            return
        self.opening -= 1
        self.release(connection)


class _Connection(asyncio.Protocol):
    """A persistent connection with at most one request in flight."""

    def __init__(self, load: _Load) -> None:
        self.load = load
        self.due = 0.0
        self.transport: asyncio.Transport | None = None
        self.parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  (for the type checker)
        self.transport = transport

    def send(self, number: int, due: float) -> None:
        self.due = due
        self.load.in_flight[self] = due
        assert self.transport is not None  # noqa: S101  (for the type checker)
        self.transport.write(self.load.requests[number % len(self.load.requests)])

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            if (due := self.load.in_flight.pop(self, None)) is not None:
                self.load.fail("malformed", due)
            self.abort()

    def on_message_complete(self) -> None:
        if self.load.in_flight.pop(self, None) is None:
            return
        if 200 <= self.parser.get_status_code() < 300:
            self.load.succeed(self.due)
        else:
            self.load.fail("status", self.due)
        if not self.parser.should_keep_alive():
            self.abort()
            return
        self.parser = httptools.HttpResponseParser(self)
        self.load.release(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.lost(self)

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

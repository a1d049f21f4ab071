"""Load generation: clients that count the responses, raw connections, and resource use of a service."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import psutil  # type: ignore[import-untyped]

from tests.live.server import ANSWER_S, END_S, Server

ROW = [1.0] * 30


class Load:
    """Results of `connections` clients that each send one request after another."""

    def __init__(self) -> None:
        self.seen: Counter[int | str] = Counter()
        self.slowest_s = 0.0
        self.without_retry_after = 0
        self.is_over = False

    def end(self) -> None:
        """Stop all clients after their current request."""
        self.is_over = True

    async def run(self, url: str, *, connections: int, seconds: float, pause_s: float = 0) -> None:
        """Send requests for `seconds` or until `end`, at least one per client. Return after the last response.

        A client waits `pause_s` after each response.
        """
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        async with httpx.AsyncClient(base_url=url, limits=limits, timeout=ANSWER_S) as client:
            timer = asyncio.get_running_loop().call_later(seconds, self.end)
            await asyncio.gather(*(self._client(client, number, pause_s) for number in range(connections)))
            timer.cancel()
        self.end()

    async def _client(self, client: httpx.AsyncClient, number: int, pause_s: float) -> None:
        # Each client has a different sum, which detects mixed-up responses.
        row, is_first = [*ROW[1:], float(number)], True
        while is_first or not self.is_over:
            is_first = False
            started = time.monotonic()
            try:
                response = await client.post("/sum", json=row)
            except httpx.TransportError as error:
                self.seen[type(error).__name__] += 1
                await asyncio.sleep(0.05)
                continue
            self.slowest_s = max(self.slowest_s, time.monotonic() - started)
            self.seen[response.status_code] += 1
            if response.status_code == 200:
                assert response.json()["sums"] == [29.0 + number]
            elif response.status_code == 503:
                self.without_retry_after += "retry-after" not in response.headers
                await asyncio.sleep(0.05)
            if pause_s:
                await asyncio.sleep(pause_s)


def load(url: str, *, connections: int, seconds: float) -> Load:
    """Return the results of `connections` clients after `seconds`."""
    seen = Load()
    asyncio.run(seen.run(url, connections=connections, seconds=seconds))
    return seen


async def load_and(url: str, act: Callable[[], Any], *, connections: int, seconds: float) -> Load:
    """Run `act()` under load, which starts before it and continues for `seconds` after it."""
    seen = Load()
    running = asyncio.create_task(seen.run(url, connections=connections, seconds=math.inf))
    while sum(seen.seen.values()) < 10 * connections and not running.done():
        await asyncio.sleep(0.01)
    try:
        await asyncio.to_thread(act)
        await asyncio.sleep(seconds)
    finally:
        seen.end()
        await running
    return seen


@dataclass(frozen=True, slots=True)
class Footprint:
    """Resources of a service: open files and memory of its processes, tasks of its gateway."""

    files: int
    tasks: int
    memory_bytes: int

    @classmethod
    def of(cls, server: Server) -> Footprint:
        processes = psutil.Process(server.process.pid).children()
        tasks = server.get("/inside").json()["tasks"]
        memory_bytes = sum(process.memory_info().rss for process in processes)
        return cls(sum(process.num_fds() for process in processes), tasks, memory_bytes)

    def is_within(self, before: Footprint, *, more_mb: int) -> bool:
        """Return whether nothing has grown, except the connection pool of the runner.

        A status request during a prediction opens one more connection, and both ends count. A leak would show once
        per client, hundreds of times.
        """
        return (
            self.files <= before.files + 8
            and self.tasks <= before.tasks
            and self.memory_bytes <= before.memory_bytes + (more_mb << 20)
        )


def settle(server: Server, before: Footprint, *, more_mb: int = 24, timeout_s: float = END_S) -> None:
    """Wait until `server` is ready and its resources are back at `before`. Raise AssertionError otherwise."""
    server.wait_ready(timeout_s=timeout_s)
    until = time.monotonic() + timeout_s
    while not (now := Footprint.of(server)).is_within(before, more_mb=more_mb):
        assert time.monotonic() < until, f"{before} before, {now} after"
        time.sleep(0.2)


@dataclass(frozen=True, slots=True)
class Raw:
    """A TCP connection with HTTP written by hand."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, body: bytes, *, path: str = "/sum") -> tuple[int, dict[str, str], Any]:
        """Send a complete request and return status, headers and JSON of the response."""
        self.writer.write(head("POST", path, len(body)) + body)
        return await self.answer()

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """Return status, headers by lower-case name, and JSON of the next response. Raise EOFError without one."""
        status, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await self.reader.readexactly(int(headers["content-length"]))
        is_json = headers.get("content-type", "").endswith("json")
        return int(status.split()[1]), headers, orjson.loads(body) if is_json else body


def head(method: str, path: str, size: int, *lines: str) -> bytes:
    """Return the head of a request with a body of `size` bytes and additional header `lines`."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "host: x", f"content-length: {size}", *lines, "", ""]).encode()


@contextlib.asynccontextmanager
async def connected(server: Server, number: int, *, at_once: int = 200) -> AsyncIterator[list[Raw]]:
    """Open `number` connections and abort them at the end of the block."""
    opened: list[Raw] = []
    try:
        while len(opened) < number:
            batch = [
                asyncio.open_connection("127.0.0.1", server.port) for _ in range(min(at_once, number - len(opened)))
            ]
            opened += [Raw(*pair) for pair in await asyncio.gather(*batch)]
        yield opened
    finally:
        for connection in opened:
            connection.writer.transport.abort()
        await asyncio.sleep(0)

"""Clients that ask one request after another, or behave badly, and count what they saw."""

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
    """What `connections` clients saw that asked one request after another."""

    def __init__(self) -> None:
        self.seen: Counter[int | str] = Counter()
        self.slowest_s = 0.0
        self.without_retry_after = 0
        self.is_over = False

    def end(self) -> None:
        """Have everybody ask no more."""
        self.is_over = True

    async def run(self, url: str, *, connections: int, seconds: float) -> None:
        """Ask for so long or until `end`, each client once at least. Returns when the last answer has come."""
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        async with httpx.AsyncClient(base_url=url, limits=limits, timeout=ANSWER_S) as client:
            timer = asyncio.get_running_loop().call_later(seconds, self.end)
            await asyncio.gather(*(self._client(client, number) for number in range(connections)))
            timer.cancel()
        self.end()

    async def _client(self, client: httpx.AsyncClient, number: int) -> None:
        # Each client's sum is its own: an answer meant for another is seen.
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


def load(url: str, *, connections: int, seconds: float) -> Load:
    """What so many clients saw in so many seconds."""
    seen = Load()
    asyncio.run(seen.run(url, connections=connections, seconds=seconds))
    return seen


async def load_and(url: str, act: Callable[[], Any], *, connections: int, seconds: float) -> Load:
    """A load that is under way when `act()` begins, whatever either takes, and goes on for `seconds` after it."""
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
    """What a service holds on to: open files and memory of its processes, tasks of its gateway."""

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
        """Whether nothing grew but the hop's pool: for a look at the runner while it is asked, which takes a
        connection of its own, of which both ends are counted. What leaks leaks for each of hundreds of clients.
        """
        return (
            self.files <= before.files + 8
            and self.tasks <= before.tasks
            and self.memory_bytes <= before.memory_bytes + (more_mb << 20)
        )


def settle(server: Server, before: Footprint, *, more_mb: int = 24, timeout_s: float = END_S) -> None:
    """Wait until `server` is ready and holds on to no more than `before`. Raises AssertionError."""
    server.wait_ready(timeout_s=timeout_s)
    until = time.monotonic() + timeout_s
    while not (now := Footprint.of(server)).is_within(before, more_mb=more_mb):
        assert time.monotonic() < until, f"{before} before, {now} after"
        time.sleep(0.2)


@dataclass(frozen=True, slots=True)
class Raw:
    """A plain connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, body: bytes, *, path: str = "/sum") -> tuple[int, dict[str, str], Any]:
        """Send a whole request; status, headers and JSON of the answer."""
        self.writer.write(head("POST", path, len(body)) + body)
        return await self.answer()

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """Status, headers by lower-case name, and JSON of the next answer. EOFError when none comes."""
        status, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await self.reader.readexactly(int(headers["content-length"]))
        is_json = headers.get("content-type", "").endswith("json")
        return int(status.split()[1]), headers, orjson.loads(body) if is_json else body


def head(method: str, path: str, size: int, *lines: str) -> bytes:
    """The head of a request with a body of `size` bytes, and with more `lines`."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "host: x", f"content-length: {size}", *lines, "", ""]).encode()


@contextlib.asynccontextmanager
async def connected(server: Server, number: int, *, at_once: int = 200) -> AsyncIterator[list[Raw]]:
    """`number` connections, closed at the end."""
    opened: list[Raw] = []
    try:
        while len(opened) < number:
            some = [
                asyncio.open_connection("127.0.0.1", server.port) for _ in range(min(at_once, number - len(opened)))
            ]
            opened += [Raw(*pair) for pair in await asyncio.gather(*some)]
        yield opened
    finally:
        for each in opened:
            each.writer.transport.abort()
        await asyncio.sleep(0)

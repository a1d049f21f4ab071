"""Connections to one runner.

A killed runner's socket stays open in BentoML's arbiter, which accepts no connection. A connection is therefore used
only after it has answered a status request within a time limit.

At the start of a shutdown the sockets are removed, and the runner lives until its gateways have finished their
requests. No connection can be opened then, so calls wait for one of those that are open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from models.errors import RunnerUnavailable
from serving.runners.client import timing
from serving.runners.client.connection import Address, Connection, NotListening, Reply, open_connection
from serving.runners.client.control import STATUS_PATH, parse_status
from serving.runners.client.health import Health, State
from serving.runners.wire import MEDIA_TYPE

FRAME_HEADER: Final = f"content-type: {MEDIA_TYPE}\r\n"


class ConnectionPool:
    """Pool of `size` idle connections to the runner at `address`, whose status goes to `health`."""

    def __init__(self, address: Address, health: Health, *, size: int) -> None:
        self._address = address
        self._health = health
        self._size = size
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._pinged: list[Connection] = []
        self._released = asyncio.Event()
        self._is_open = False
        # Most replies are equal to the last one.
        self._last_status = b""

    def start(self) -> None:
        """Keep connections from now on."""
        self._is_open = True

    def close(self) -> None:
        """Close every connection."""
        self._is_open = False
        for connection in (*self._idle, *self._busy, *self._pinged):
            connection.close()
        self._idle.clear()

    async def open(self, timeout_s: float) -> Connection:
        """Return a new connection that has answered a status request. Raises RunnerUnavailable."""
        connection: Connection | None = None
        try:
            async with asyncio.timeout(timeout_s):
                connection = await open_connection(self._address)
                await self._read_status(connection)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, TimeoutError):
                raise RunnerUnavailable() from error
            raise
        return connection

    async def acquire(self) -> Connection:
        """Return a connection: an idle one, or a new one if the runner is up. Raises RunnerUnavailable.

        When the runner no longer listens, wait for a connection that is in use.
        """
        while True:
            while self._idle:
                connection = self._idle.pop()
                if connection.is_open:
                    return connection
            if self._health.state is State.CHECKING:
                with suppress(TimeoutError):
                    async with asyncio.timeout(timing.CONNECT_TIMEOUT_S):
                        await self._health.wait_until_checked()
            if self._health.state is not State.UP:
                raise RunnerUnavailable()
            self._released.clear()
            try:
                return await self.open(timing.CONNECT_TIMEOUT_S)
            except RunnerUnavailable as error:
                if not (isinstance(error, NotListening) and self._has_connections):
                    self._health.request_check()
                    raise
            await self._released.wait()

    async def post(self, connection: Connection, path: str, pieces: Sequence[bytes | memoryview]) -> Reply:
        """Send a frame over an acquired connection, and release the connection. Raises ConnectionLost."""
        self._busy.add(connection)
        try:
            return await connection.request("POST", path, pieces, headers=FRAME_HEADER)
        finally:
            self._busy.discard(connection)
            self.release(connection)

    def release(self, connection: Connection) -> None:
        """Make a connection idle, or close it when there are enough."""
        if connection.is_open and len(self._idle) <= self._size and self._is_open:
            self._idle.append(connection)
        else:
            connection.close()
        self._released.set()

    async def ping(self) -> None:
        """Request the status over every idle connection, and open those that are missing, if the runner listens.

        Raises RunnerUnavailable and TimeoutError.
        """
        self._pinged = [connection for connection in self._idle if connection.is_open]
        self._idle.clear()
        try:
            await self._open_missing()
            for connection in self._pinged:
                async with asyncio.timeout(timing.PING_TIMEOUT_S):
                    await self._read_status(connection)
        finally:
            while self._pinged:
                self.release(self._pinged.pop())

    async def _open_missing(self) -> None:
        try:
            # When all are busy, a further connection distinguishes a hung runner from a busy one.
            while len(self._pinged) + len(self._busy) < self._size or not self._pinged:
                self._pinged.append(await self.open(timing.PING_TIMEOUT_S))
        except NotListening:
            if not self._has_connections:
                raise

    @property
    def _has_connections(self) -> bool:
        return bool(self._idle or self._pinged or self._busy)

    async def _read_status(self, connection: Connection) -> None:
        reply = await connection.request("GET", STATUS_PATH)
        if reply.status != 200 or reply.body != self._last_status:
            self._health.record(parse_status(reply))
            self._last_status = reply.body

"""Connections to one runner.

A killed runner's socket stays open in BentoML's arbiter, which accepts no connection. A connection is therefore used
only after it has answered a status request within a time limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from models.errors import RunnerUnavailable
from serving.runners.client import timing
from serving.runners.client.connection import Address, Connection, Reply, open_connection
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
        self._is_open = False
        # Most replies are equal to the last one.
        self._last_status = b""

    def start(self) -> None:
        """Keep connections from now on."""
        self._is_open = True

    def close(self) -> None:
        """Close every connection."""
        self._is_open = False
        for connection in (*self._idle, *self._busy):
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
        """Return a connection: an idle one, or a new one if the runner is up. Raises RunnerUnavailable."""
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
        try:
            return await self.open(timing.CONNECT_TIMEOUT_S)
        except RunnerUnavailable:
            self._health.request_check()
            raise

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

    async def ping(self) -> None:
        """Request the status over every idle connection, and open those that are missing.

        Raises RunnerUnavailable and TimeoutError.
        """
        idle, self._idle = self._idle, []
        idle = [connection for connection in idle if connection.is_open]
        while len(idle) + len(self._busy) < self._size:
            idle.append(await self.open(timing.PING_TIMEOUT_S))
        if not idle:
            # All are busy. A further connection distinguishes a hung runner from a busy one.
            idle.append(await self.open(timing.PING_TIMEOUT_S))
        try:
            for connection in idle:
                async with asyncio.timeout(timing.PING_TIMEOUT_S):
                    await self._read_status(connection)
        finally:
            for connection in idle:
                self.release(connection)

    async def _read_status(self, connection: Connection) -> None:
        reply = await connection.request("GET", STATUS_PATH)
        if reply.status != 200 or reply.body != self._last_status:
            self._health.record(parse_status(reply))
            self._last_status = reply.body

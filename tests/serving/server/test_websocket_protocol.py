"""A WebSocket client that sends pings and does not read."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.serving.event_loop import in_simulated_time
from tests.serving.server.fast_path.fast_path_server import FastPathServer, listening
from tests.serving.server.test_http_protocol import WEBSOCKET

PING = b"\x89\xfd\0\0\0\0" + b"p" * 125
PONG_BYTES = 127
# More than the buffers of two sockets.
FLOOD = 40 << 20


@pytest.mark.slow
@in_simulated_time
async def test_reading_pauses_while_the_client_does_not_read() -> None:
    async with listening(FastPathServer()) as server:
        reader, writer = await server.connect()
        writer.write(WEBSOCKET)
        await reader.readuntil(b"\r\n\r\n")
        # The client does not read: a StreamReader stops at twice its limit.
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent * len(PING) < FLOOD:
                writer.write(PING * 1000)
                sent += 1000
                await asyncio.wait_for(writer.drain(), 2)
        assert sent * len(PING) < FLOOD
        # Nothing is lost, and the connection remains usable.
        await reader.readexactly(sent * PONG_BYTES)
        await asyncio.wait_for(writer.drain(), 20)
        writer.close()

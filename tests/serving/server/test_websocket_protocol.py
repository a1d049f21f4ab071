"""A WebSocket client that sends pings and does not read."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from serving.server.websocket_protocol import WebSocketProtocol
from tests.serving.event_loop import in_loop, in_simulated_time, until
from tests.serving.server.fast_path.fast_path_server import FastPathServer, listening
from tests.serving.server.test_http_protocol import WEBSOCKET, expect_refusal

INVALID = WEBSOCKET.replace(b"Host", b"Content-Length: 2\r\nHost") + b"{}"
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


@pytest.mark.slow
@in_loop
async def test_a_shutdown_ends_a_connection_whose_handshake_was_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    lost: list[tuple[WebSocketProtocol, Exception | None]] = []
    async with listening(FastPathServer()) as server:
        # The connection is not over until the client has read the refusal.
        monkeypatch.setattr(WebSocketProtocol, "connection_lost", lambda *connection: lost.append(connection))
        reader, writer = await server.connect()
        writer.write(INVALID)
        await expect_refusal(reader, 400, "not-http")
        await until(lambda: lost)
        monkeypatch.undo()
        ((protocol, error),) = lost
        protocol.shutdown()
        protocol.connection_lost(error)
        writer.close()

"""The settings of uvicorn that BentoML does not have: the time limit of idle connections, the size of messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from serving.observability.metrics import service_metrics
from serving.observability.request_recorder import RequestRecorder
from serving.process.graceful_shutdown import GracefulShutdown
from serving.server.fast_path import install as module
from tests.serving.event_loop import in_loop
from tests.serving.quick_server import QuickServer


async def size_of_messages(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": str(len(message["text"]))})


@asynccontextmanager
async def installed(
    monkeypatch: pytest.MonkeyPatch, *, keep_alive_s: float = 75.0, max_message_bytes: int = 1 << 20
) -> AsyncIterator[int]:
    """Run a server with uvicorn's defaults, in which the protocols are then installed; yields its port."""
    config = uvicorn.Config(
        size_of_messages, port=0, http="httptools", ws="websockets-sansio", lifespan="off", log_config=None
    )
    config.load()
    server = QuickServer(config)
    monkeypatch.setattr(module, "running_server", lambda: server)
    assert module.install(
        tuple,
        recorder=RequestRecorder(service_metrics(), None),
        shutdown=GracefulShutdown(grace_s=5),
        timeout_s=30,
        head_timeout_s=20,
        body_min_rate=0,
        keep_alive_s=keep_alive_s,
        max_message_bytes=max_message_bytes,
    )
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def answered(socket: ClientConnection, message: str) -> str | bytes:
    await socket.send(message)
    return await socket.recv()


@in_loop
async def test_messages_have_the_bound_of_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    async with installed(monkeypatch, max_message_bytes=20 << 20) as port:
        socket = await connect(f"ws://127.0.0.1:{port}", max_size=None, compression=None)
        assert await answered(socket, "A" * (17 << 20)) == str(17 << 20)  # over uvicorn's default
        # The server may close before the whole message is sent, or after.
        with pytest.raises(ConnectionClosed):
            await answered(socket, "A" * ((20 << 20) + 1))
        assert socket.close_code == 1009


@in_loop
async def test_idle_connections_have_the_keep_alive_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    async with installed(monkeypatch, keep_alive_s=0.3) as port:
        began = asyncio.get_running_loop().time()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await asyncio.wait_for(reader.read(), 4) == b""
        assert asyncio.get_running_loop().time() - began > 0.2
        writer.close()

"""Real runners behind real sockets, in the event loop of a test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send

from serving.process.graceful_shutdown import GracefulShutdown
from serving.runners.client.local import host
from serving.runners.host.asgi import RunnerApp
from serving.runners.host.batch_method import BatchMethod
from serving.runners.host.instance import RunnerInstance
from serving.runners.host.models import HostedModels
from serving.runners.wire import WireRequest, WireResponse
from tests.serving.quick_server import QuickServer


async def no_app(scope: Scope, receive: Receive, send: Send) -> None:
    """The application behind the runner interface: it answers 404 to everything."""
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


class RunnerServer:
    """The application of one runner, whose only model is warm."""

    def __init__(self, instance: RunnerInstance | HostedModels, *, token: str = "") -> None:
        self.models = instance if isinstance(instance, HostedModels) else HostedModels.of(instance, is_warm=True)
        self.draining = GracefulShutdown(grace_s=5, waits_for_sessions=True)
        self.calls = 0
        self.requests: list[str] = []
        self._inner = RunnerApp(
            no_app, models=lambda: self.models, run=self.run_method, draining=lambda: self.draining, token=token
        )
        self.server: uvicorn.Server | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.requests.append(scope["path"])
        await self._inner(scope, receive, send)

    async def run_method(
        self, method: BatchMethod, requests: Sequence[WireRequest], is_disconnected: Callable[[], bool]
    ) -> Sequence[WireResponse | Exception]:
        self.calls += 1
        return await method.run(requests)

    def cut_connections(self) -> None:
        """Close every connection, as a killed process does."""
        assert self.server is not None
        for connection in list(self.server.server_state.connections):
            connection.transport.abort()


@contextlib.asynccontextmanager
async def listening(runner: RunnerServer, **where: Any) -> AsyncIterator[str]:
    """`runner` behind a socket: `uds=path` or `port=0`. Yields its address."""
    config = uvicorn.Config(runner, lifespan="off", log_config=None, access_log=False, timeout_keep_alive=5, **where)
    server = runner.server = QuickServer(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
        assert not task.done()
    try:
        if "uds" in where:
            yield Path(where["uds"]).as_uri()
        else:
            yield f"tcp://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        runner.draining.begin()
        runner.draining.sessions_end.set()
        server.should_exit = True
        await task
        runner.models.close()


async def warm(instance: object, *methods: str, threads: int = 1) -> RunnerInstance:
    """Return a runner of `instance`, warmed up."""
    runner = host(instance, methods, name=type(instance).__name__, threads=threads)
    await runner.warm_up()
    return runner

"""Counts requests in flight and takes nothing new once the process was told to stop. Knows `GracefulShutdown` only."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.errors import RunnerUnavailable
from serving.http.problem_details import problem_of
from serving.process.graceful_shutdown import GracefulShutdown

# Asked by whoever decides where to send requests: answered to the last.
PROBES = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})


_CLOSE = (b"connection", b"close")


class CloseConnections:
    """A request that comes after the signal is answered 503. Every answer after it has `Connection: close`, so that the
    next request is sent elsewhere, and not on a connection that is about to end."""

    def __init__(self, app: ASGIApp, *, draining: GracefulShutdown, probes: Collection[str] = PROBES) -> None:
        self.app = app
        self._draining = draining
        self._probes = frozenset(probes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"] in self._probes:
            await self.app(scope, receive, send)
            return

        async def send_last(message: Message) -> None:
            if self._draining.is_begun and message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), _CLOSE]
            await send(message)

        if self._draining.is_begun and scope["type"] == "http":
            response = problem_of(RunnerUnavailable("the service is stopping"), instance=scope["path"])
            await response(scope, receive, send_last)
            return
        self._draining.enter()
        try:
            await self.app(scope, receive, send_last)
        except asyncio.CancelledError:
            if not self._draining.is_over or scope["type"] != "http":
                raise
            # The grace period is over. Should an answer have begun, the server closes the connection after this.
            response = problem_of(RunnerUnavailable("the service is stopping"), instance=scope["path"])
            await response(scope, receive, send_last)
        finally:
            self._draining.leave()

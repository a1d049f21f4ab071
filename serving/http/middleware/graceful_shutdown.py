"""Count requests in flight, and refuse new ones during a graceful shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors.exceptions import ServiceStopping
from serving.http.problem_details import problem_of
from serving.process.graceful_shutdown import GracefulShutdown

# Answered until the end: load balancers decide by them.
PROBES = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})
_CLOSE = (b"connection", b"close")


class CloseConnections:
    """Middleware that answers 503 to new requests during a shutdown.

    Every response then has `Connection: close`, so that the client sends its next request to another gateway.
    """

    def __init__(self, app: ASGIApp, *, draining: GracefulShutdown, probes: Collection[str] = PROBES) -> None:
        self.app = app
        self._draining = draining
        self._probes = frozenset(probes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"] in self._probes:
            await self.app(scope, receive, send)
            return

        async def send_and_close(message: Message) -> None:
            if self._draining.is_begun and message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), _CLOSE]
            await send(message)

        if self._draining.is_begun and scope["type"] == "http":
            response = problem_of(ServiceStopping(), instance=scope["path"])
            await response(scope, receive, send_and_close)
            return
        self._draining.enter()
        try:
            await self.app(scope, receive, send_and_close)
        except asyncio.CancelledError:
            if not self._draining.is_over or scope["type"] != "http":
                raise
            # The grace period is over. If the response has started, the server closes the connection.
            response = problem_of(ServiceStopping(), instance=scope["path"])
            await response(scope, receive, send_and_close)
        finally:
            self._draining.leave()

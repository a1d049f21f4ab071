"""Measures every request: `X-Process-Time`, one line in the access log, metrics. Knows route templates, never paths.

A path may hold an id or a secret that a client put there by mistake; so what is logged and counted is the template of
the route that answered, or `unmatched`.
"""

from __future__ import annotations

import time
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.context import current_request_id
from serving.http.middleware.websocket_metrics import WebSocketMetrics
from serving.observability.access_log import AccessLog
from serving.observability.metrics import ServiceMetrics

UNMATCHED = "unmatched"
OTHER_METHOD = "OTHER"
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class RequestMetrics:
    """`native` are the paths that BentoML's own application answers: a closed set, used as they are."""

    def __init__(
        self, app: ASGIApp, *, telemetry: ServiceMetrics, access_log: AccessLog | None, native: Collection[str] = ()
    ) -> None:
        self.app = app
        self._telemetry = telemetry
        self._access_log = access_log
        self._native = frozenset(native)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._converse(scope, receive, send)
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 499  # What stays when the client leaves before an answer begins.

        async def send_timed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                elapsed_ms = b"%.2f" % (1000 * (time.perf_counter() - started))
                message["headers"] = [*message.get("headers", ()), (b"x-process-time", elapsed_ms)]
            await send(message)

        self._telemetry.began()
        try:
            await self.app(scope, receive, send_timed)
        finally:
            seconds = time.perf_counter() - started
            route = self._route(scope)
            method = scope["method"] if scope["method"] in METHODS else OTHER_METHOD
            self._telemetry.ended(route, method, status, seconds)
            if self._access_log is not None:
                self._access_log.write(current_request_id(), method, route, status, 1000 * seconds)

    async def _converse(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocketMetrics(scope, route=self._route, telemetry=self._telemetry, access_log=self._access_log)
        try:
            await self.app(scope, socket.receiving(receive), socket.sending(send))
        finally:
            socket.ended()

    def _route(self, scope: Scope) -> str:
        route = getattr(scope.get("route"), "path", None)
        if route is not None:
            return str(route)
        return scope["path"] if scope["path"] in self._native else UNMATCHED

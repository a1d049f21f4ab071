"""Measure every request: `X-Process-Time`, a line in the access log, metrics.

A path may contain an id, or a secret that a client put there by mistake, so logs and metrics contain the template of
the matched route, or `unmatched`.
"""

from __future__ import annotations

import time
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.context import current_request_id
from serving.http.middleware.websocket_metrics import WebSocketMetrics
from serving.observability.request_recorder import RequestRecorder

UNMATCHED = "unmatched"
OTHER_METHOD = "OTHER"
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class RequestMetrics:
    """Middleware that measures requests.

    `native` are the paths of BentoML's own application, which are logged as they are.
    """

    def __init__(self, app: ASGIApp, *, recorder: RequestRecorder, native: Collection[str] = ()) -> None:
        self.app = app
        self._recorder = recorder
        self._native = frozenset(native)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._measure_websocket(scope, receive, send)
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 499  # Logged when the client disconnects before a response starts.

        async def send_timed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                elapsed_ms = b"%.2f" % (1000 * (time.perf_counter() - started))
                message["headers"] = [*message.get("headers", ()), (b"x-process-time", elapsed_ms)]
            await send(message)

        self._recorder.started()
        try:
            await self.app(scope, receive, send_timed)
        finally:
            seconds = time.perf_counter() - started
            route = self._route(scope)
            method = scope["method"] if scope["method"] in METHODS else OTHER_METHOD
            self._recorder.ended(current_request_id(), method, route, status, seconds)

    async def _measure_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocketMetrics(scope, route=self._route, recorder=self._recorder)
        try:
            await self.app(scope, socket.wrap_receive(receive), socket.wrap_send(send))
        finally:
            socket.ended()

    def _route(self, scope: Scope) -> str:
        route = getattr(scope.get("route"), "path", None)
        if route is not None:
            return str(route)
        return scope["path"] if scope["path"] in self._native else UNMATCHED

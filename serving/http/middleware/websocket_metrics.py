"""Measures one WebSocket: each message as a request is, and the connection itself. Knows codes and times, no content.

A connection is long and means nothing; what it carries is counted. So every answered message is a request with the
method WEBSOCKET, in the metrics and in the access log. The connection is a gauge while it is open, and one line of the
log with the code that closed it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from starlette.types import Message, Receive, Scope, Send

from serving.context import current_request_id
from serving.observability.access_log import AccessLog
from serving.observability.metrics import ServiceMetrics

WEBSOCKET: Final = "WEBSOCKET"
# Where a scope keeps what is called with the status and the seconds of every answered message.
ANSWERED: Final = "makunouchi.answered"
# What a connection that broke off without saying so was closed with (RFC 6455, 7.1.5).
BROKE_OFF: Final = 1006
# A client may send any code; labels come from a closed set.
_KNOWN: Final = frozenset({1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 4408})
OTHER: Final = "other"


class WebSocketMetrics:
    """Stands between the server and the application for one WebSocket. `route` names the route that answered."""

    def __init__(
        self, scope: Scope, *, route: Callable[[Scope], str], telemetry: ServiceMetrics, access_log: AccessLog | None
    ) -> None:
        self._scope = scope
        self._route = route
        self._telemetry = telemetry
        self._access_log = access_log
        self._started = time.perf_counter()
        self._is_open = False
        self._code = BROKE_OFF
        scope[ANSWERED] = self.answered

    def answered(self, status: int, seconds: float) -> None:
        """A message was answered, after `seconds`, as HTTP would have with `status`."""
        route = self._route(self._scope)
        self._telemetry.answered(route, WEBSOCKET, status, seconds)
        if self._access_log is not None:
            self._access_log.write(current_request_id(), WEBSOCKET, route, status, 1000 * seconds)

    def receiving(self, receive: Receive) -> Receive:
        """`receive`, listened to for the code that the client closes with."""

        async def watched() -> Message:
            message = await receive()
            # After a close of ours the server repeats that code, or says that the client is gone.
            if message["type"] == "websocket.disconnect" and self._code == BROKE_OFF:
                self._code = message.get("code") or BROKE_OFF
            return message

        return watched

    def sending(self, send: Send) -> Send:
        """`send`, listened to for whether the connection was let in, and the code that the service closes with."""

        async def watched(message: Message) -> None:
            kind = message["type"]
            if kind == "websocket.accept":
                self._is_open = True
                self._telemetry.connected()
            elif kind == "websocket.close":
                self._code = message.get("code") or 1000
            elif kind == "websocket.http.response.start":
                self.answered(message["status"], time.perf_counter() - self._started)
                self._code = 0
            await send(message)

        return watched

    def ended(self) -> None:
        """The connection is over."""
        if not self._is_open:
            if self._code:
                # Closed before it was open: the server answers 403.
                self.answered(403, time.perf_counter() - self._started)
            return
        self._telemetry.disconnected(str(self._code) if self._code in _KNOWN else OTHER)
        if self._access_log is not None:
            seconds = time.perf_counter() - self._started
            self._access_log.write(
                current_request_id(), WEBSOCKET, self._route(self._scope), self._code, 1000 * seconds
            )

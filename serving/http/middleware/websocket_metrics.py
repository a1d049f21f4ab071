"""Measure one WebSocket: its messages and the connection.

Metrics and the access log count each answered message as a request with the method WEBSOCKET. The connection is counted
in a gauge while it is open, and gets one line in the access log with its close code.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from starlette.types import Message, Receive, Scope, Send

from serving.context import current_request_id
from serving.observability.request_recorder import RequestRecorder

WEBSOCKET: Final = "WEBSOCKET"
# The key of a scope under which the function is stored that counts an answered message: `(status, seconds)`.
ANSWERED: Final = "makunouchi.answered"
# The close code of a connection that ended without a close frame (RFC 6455, 7.1.5).
ABNORMAL_CLOSURE: Final = 1006
# A client may send any code, but labels come from a closed set.
_KNOWN_CODES: Final = frozenset({1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 4408})
OTHER: Final = "other"


class WebSocketMetrics:
    """The measurements of one WebSocket. `route` returns the route template of a scope."""

    def __init__(self, scope: Scope, *, route: Callable[[Scope], str], recorder: RequestRecorder) -> None:
        self._scope = scope
        self._route = route
        self._recorder = recorder
        self._started = time.perf_counter()
        self._is_open = False
        self._code = ABNORMAL_CLOSURE
        scope[ANSWERED] = self.answered

    def answered(self, status: int, seconds: float) -> None:
        """Count an answered message by its HTTP `status` and duration."""
        route = self._route(self._scope)
        self._recorder.answered(current_request_id(), WEBSOCKET, route, status, seconds)

    def wrap_receive(self, receive: Receive) -> Receive:
        """Return `receive`, extended to record the close code of the client."""

        async def watched() -> Message:
            message = await receive()
            # After a close by the service, the server repeats its code or reports the disconnected client.
            if message["type"] == "websocket.disconnect" and self._code == ABNORMAL_CLOSURE:
                self._code = message.get("code") or ABNORMAL_CLOSURE
            return message

        return watched

    def wrap_send(self, send: Send) -> Send:
        """Return `send`, extended to record the acceptance of the connection and the close code of the service."""

        async def watched(message: Message) -> None:
            kind = message["type"]
            if kind == "websocket.accept":
                self._is_open = True
                self._recorder.metrics.websocket_opened()
            elif kind == "websocket.close":
                self._code = message.get("code") or 1000
            elif kind == "websocket.http.response.start":
                self.answered(message["status"], time.perf_counter() - self._started)
                self._code = 0
            await send(message)

        return watched

    def ended(self) -> None:
        """Count the end of the connection."""
        if not self._is_open:
            if self._code:
                # Closed before it was accepted: the server answers 403.
                self.answered(403, time.perf_counter() - self._started)
            return
        self._recorder.metrics.websocket_closed(str(self._code) if self._code in _KNOWN_CODES else OTHER)
        if self._recorder.access_log is not None:
            seconds = time.perf_counter() - self._started
            self._recorder.access_log.write(
                current_request_id(), WEBSOCKET, self._route(self._scope), self._code, 1000 * seconds
            )

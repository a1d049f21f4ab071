"""A request on the fast path, and the bytes of its response.

uvicorn's protocol uses it in place of a `RequestResponseCycle`: it reads and sets the attributes down to
`message_event`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from serving.http.middleware.timeout import cut_if_unread

if TYPE_CHECKING:
    from serving.server.fast_path.batch_queue import BatchQueue
    from serving.server.fast_path.protocol import FastPathProtocol

_OK_LINE: Final = b"HTTP/1.1 200 OK\r\n"
_OK_HEAD: Final = b"cache-control: no-store\r\ncontent-length: %d\r\ncontent-type: application/json\r\n"


class _NoEvent:
    """The event that the application of a cycle would wait for."""

    def set(self) -> None:
        """Do nothing: no application waits."""


class FastRequest:
    """A request that was read whole. It ends once, by `answer`, `respond` or `fall_back`."""

    __slots__ = (
        "body",
        "disconnected",
        "extra_headers",
        "is_awaited",
        "keep_alive",
        "message_event",
        "more_body",
        "on_response",
        "protocol",
        "queue",
        "request_id",
        "response_complete",
        "scope",
        "started",
        "transport",
    )

    def __init__(self, protocol: FastPathProtocol, queue: BatchQueue, scope: Any, request_id: str) -> None:
        self.response_complete = False
        self.disconnected = False
        self.keep_alive = True
        self.more_body = True
        self.body = bytearray()
        self.message_event = _NO_EVENT
        self.is_awaited = False
        self.protocol = protocol
        self.transport: asyncio.Transport = protocol.transport
        self.queue = queue
        self.scope = scope  # Any: uvicorn's own type of an ASGI scope
        self.request_id = request_id
        self.started = time.perf_counter()
        # Header lines of a 200 that not every response has.
        self.extra_headers = b""
        # Called once with the body of a 200, or with None for any other end.
        self.on_response: Callable[[bytes | None], None] | None = None

    def answer(self, body: bytes) -> None:
        """Send a 200 with `body`, which is JSON."""
        self._notify(body)
        self._send(200, _OK_LINE, _OK_HEAD % len(body) + self.extra_headers, body)

    def respond(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """Send a response that is not a 200. `headers` include Content-Length."""
        self._notify(None)
        line = b"HTTP/1.1 %d %s\r\n" % (status, HTTPStatus(status).phrase.encode())
        self._send(status, line, b"".join(b"%s: %s\r\n" % header for header in headers), body)

    def fall_back(self) -> None:
        """Hand the request to the application."""
        self._notify(None)
        self.response_complete = True
        self.queue.on_fall_back(self)
        self.protocol.fall_back(self)

    def abandon(self) -> None:
        """Notify those who wait for the response that there is none."""
        self._notify(None)

    def _notify(self, body: bytes | None) -> None:
        on_response, self.on_response = self.on_response, None
        if on_response is not None:
            on_response(body)

    def _send(self, status: int, line: bytes, head: bytes, body: bytes) -> None:
        seconds = time.perf_counter() - self.started
        self.response_complete = True
        self.queue.on_answered(self, 499 if self.disconnected else status, seconds)
        if self.disconnected:
            return
        protocol, transport = self.protocol, self.transport
        if self.queue.shutdown.is_begun:
            self.keep_alive = False
        transport.write(
            b"%b%b%bx-process-time: %.2f\r\nx-request-id: %b\r\n%b\r\n%b"
            % (
                line,
                b"".join([b"%b: %b\r\n" % header for header in protocol.server_state.default_headers]),
                head,
                1000 * seconds,
                self.request_id.encode(),
                b"" if self.keep_alive else b"connection: close\r\n",
                body,
            )
        )
        if not self.keep_alive:
            transport.close()
        else:
            cut_if_unread(transport, self.queue.timeout_s)
        protocol.on_response_complete()


_NO_EVENT: Final = _NoEvent()

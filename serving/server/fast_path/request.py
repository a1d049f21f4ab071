"""One plain request, and the bytes of its answer. Knows HTTP/1.1 and uvicorn's cycle, no calls.

To uvicorn's protocol it stands where a `RequestResponseCycle` stands: the attributes down to `message_event` are those
that the protocol reads and sets.
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


class _Nobody:
    """The event that a cycle's application would wait for."""

    def set(self) -> None:
        """Nobody waits."""


class FastRequest:
    """A request that was read whole. It is answered once, with `answer`, `respond` or `divert`."""

    __slots__ = (
        "body",
        "disconnected",
        "is_awaited",
        "keep_alive",
        "made",
        "message_event",
        "more_body",
        "protocol",
        "request_id",
        "response_complete",
        "road",
        "scope",
        "started",
        "told",
        "transport",
    )

    def __init__(self, protocol: FastPathProtocol, road: BatchQueue, scope: Any, request_id: str) -> None:
        self.response_complete = False
        self.disconnected = False
        self.keep_alive = True
        self.more_body = True
        self.body = bytearray()
        self.message_event = _NOBODY
        self.is_awaited = False
        self.protocol = protocol
        self.transport: asyncio.Transport = protocol.transport
        self.road = road
        self.scope = scope  # Any: uvicorn's own type of an ASGI scope
        self.request_id = request_id
        self.started = time.perf_counter()
        # Header lines that a 200 has beside those that all have.
        self.told = b""
        # Who is to be given the body of a 200, or None where it becomes none.
        self.made: Callable[[bytes | None], None] | None = None

    def answer(self, body: bytes) -> None:
        """Answer 200 with `body`, which is JSON."""
        self._is_made(body)
        self._send(200, _OK_LINE, _OK_HEAD % len(body) + self.told, body)

    def respond(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """Answer anything but 200. `headers` have Content-Length."""
        self._is_made(None)
        line = b"HTTP/1.1 %d %s\r\n" % (status, HTTPStatus(status).phrase.encode())
        self._send(status, line, b"".join(b"%s: %s\r\n" % header for header in headers), body)

    def divert(self) -> None:
        """Have the application answer, as if there were no short road."""
        self._is_made(None)
        self.response_complete = True
        self.road.gave_up(self)
        self.protocol.take_ordinary_road(self)

    def leave(self) -> None:
        """Nobody will answer: those who wait for the same are told."""
        self._is_made(None)

    def _is_made(self, body: bytes | None) -> None:
        made, self.made = self.made, None
        if made is not None:
            made(body)

    def _send(self, status: int, line: bytes, head: bytes, body: bytes) -> None:
        seconds = time.perf_counter() - self.started
        self.response_complete = True
        self.road.answered(self, 499 if self.disconnected else status, seconds)
        if self.disconnected:
            return
        protocol, transport = self.protocol, self.transport
        if self.road.draining.is_begun:
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
            cut_if_unread(transport, self.road.timeout_s)
        protocol.on_response_complete()


_NOBODY: Final = _Nobody()

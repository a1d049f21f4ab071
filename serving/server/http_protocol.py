"""uvicorn's HTTP protocol, stricter. Knows bytes, heads of requests and the order of answers; no calls.

- The head of a request, its first line and headers, has a size and a time. uvicorn's has neither: one client that never
  ends its headers takes the memory of the process.
- Bytes that are no HTTP are answered after what was asked before them. uvicorn answers them at once, and the client
  takes that for the answer to an earlier request.
- A WebSocket is not opened behind a request that still waits: its answer would come as a frame.
- An offer to speak another protocol, such as HTTP/2, is ignored. uvicorn's parser takes the body for that protocol: the
  request is answered without it, or its body is read as the next request.
- Trailers are no headers (RFC 9110, 6.5.1): a proxy in front has not looked at them.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar, Final, NamedTuple, NoReturn

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.context import accept_or_make, set_request_id
from serving.errors.problem_types import HEAD_TIMEOUT, HEAD_TOO_LARGE, NOT_HTTP, ProblemType
from serving.http.middleware.request_id import HEADER
from serving.http.problem_details import problem

MAX_HEAD_BYTES: Final = 64 << 10
# The headers that offer another protocol.
_OFFER: Final = frozenset({b"upgrade", b"http2-settings", b"connection"})
# How long a new connection may stay silent.
SILENCE_S: Final = 60.0
# How long, and how much of, what a refused client still sends is thrown away. Closing at once resets the connection,
# and the client may never see its answer.
LINGER_S: Final = 5.0
LINGER_BYTES: Final = 1 << 20


def _nobody_counts(request_id: str, status: int) -> None:
    """Where there are no metrics."""


@dataclass(frozen=True, slots=True)
class HttpBounds:
    """How long a head may take, and what is told the id and the status of each answer that no application gave."""

    head_timeout_s: float = 20.0
    count: Callable[[str, int], None] = _nobody_counts


class Refusal(NamedTuple):
    """What a client is told whose bytes are not read on."""

    kind: ProblemType
    detail: str


_NOT_HTTP: Final = Refusal(NOT_HTTP, "this cannot be read as HTTP/1.1; the connection is closed")
_NO_SOCKET: Final = Refusal(NOT_HTTP, "a WebSocket is opened by a GET without a body, of short headers")
_TOO_EARLY: Final = Refusal(NOT_HTTP, "a WebSocket is not opened behind a request that waits for its answer")
_TOO_LARGE: Final = Refusal(HEAD_TOO_LARGE, f"the headers are larger than the {MAX_HEAD_BYTES} bytes that are accepted")


class _Refused(Exception):  # no error of ours: it stops the parser
    """Raised inside of a callback of the parser, which then reads no further."""


class _Nowhere(list[tuple[bytes, bytes]]):
    """Where trailers are put."""

    def append(self, header: tuple[bytes, bytes], /) -> None:
        """Forget it."""


_NOWHERE: Final = _Nowhere()


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    strictness: ClassVar[HttpBounds] = HttpBounds()
    # A subclass may have something of its own where uvicorn has a cycle.
    cycle: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: uvicorn's own
        super().__init__(*args, **kwargs)
        self._reads = True
        self._has_spoken = False
        self._has_offer = False
        self._is_in_head = False
        # Whether the head began somewhere in the bytes that are being read.
        self._is_head_new = False
        self._read_bytes = 0
        # What was read when the head began, and what was read of it since.
        self._first_bytes = 0
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._refusal: Refusal | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # uvloop's is none by inheritance
        self._timer = self.loop.call_later(SILENCE_S, self._on_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._reads:
            self._forget(len(data))
            return
        if not self._has_spoken:
            self._has_spoken = True
            self._stop_timer()
        self._read_bytes = len(data)
        self._is_head_new = False
        self._unset_keepalive_if_required()
        try:
            self._read(data)
        except httptools.HttpParserError:
            self._refuse(self._refusal or _NOT_HTTP)
        self._watch_head()

    def _read(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            else:
                self._read_without_offer(data[upgrade.args[0] :])

    def _read_without_offer(self, rest: bytes) -> None:
        """Read the head again, without its offer of another protocol, and then what came after it."""
        line = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        kept = [header for header in self.headers if header[0] not in _OFFER]
        tokens = {
            token.strip().lower()
            for name, value in self.headers
            if name == b"connection"
            for token in value.split(b",")
        }
        kept += [(b"connection", token) for token in (b"close", b"keep-alive") if token in tokens]
        self._has_offer = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._read(line + b"".join([b"%b: %b\r\n" % header for header in kept]) + b"\r\n" + rest)

    def _forget(self, read_bytes: int) -> None:
        self._read_bytes += read_bytes
        if self._read_bytes > LINGER_BYTES:
            self.flow.pause_reading()

    def _watch_head(self) -> None:
        if not self._reads:
            return
        if self._is_in_head and not self._is_head_new:
            self._head_bytes += self._read_bytes
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(_TOO_LARGE)
                return
        if self._timer is None and (self._is_in_head or not self._is_busy()):
            self._timer = self.loop.call_later(self.strictness.head_timeout_s, self._on_late)

    def on_message_begin(self) -> None:
        self._is_in_head = self._is_head_new = True
        self._first_bytes = self._read_bytes
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        most_bytes = self._first_bytes + self._head_bytes + self._read_bytes
        if most_bytes > MAX_HEAD_BYTES and self._size_of_head() > MAX_HEAD_BYTES:
            self._stop_at(_TOO_LARGE)
        upgrades = self.parser.should_upgrade()
        if upgrades and not self._should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                self._stop_at(_NOT_HTTP)
            self._has_offer = True
            return
        if upgrades and self._is_busy():
            self._stop_at(_TOO_EARLY)
        self._is_in_head = False
        self._stop_timer()
        self.begin()
        if not upgrades:
            self.headers = _NOWHERE

    def begin(self) -> None:
        """The head of a request is complete."""
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self._has_offer:
            super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self._reads = False
        super().handle_websocket_upgrade()
        # It has stricter rules for heads, and says nothing of what breaks them.
        if not getattr(self.transport.get_protocol(), "handshake_initiated", True):
            self._answer(_NO_SOCKET)

    def on_response_complete(self) -> None:
        if self._refusal is not None and not self.pipeline:
            self.server_state.total_requests += 1
            self._answer(self._refusal)
        else:
            super().on_response_complete()

    def _stop_at(self, refusal: Refusal) -> NoReturn:
        self._refusal = refusal
        raise _Refused(refusal.detail)

    def _refuse(self, refusal: Refusal) -> None:
        """Read no further, and say why once everything before it is answered."""
        self._reads = False
        self._refusal = refusal
        self._stop_timer()
        cycle = self.cycle
        if cycle is None or self._is_in_head or not cycle.more_body:
            if not self._is_busy():
                self._answer(refusal)
            return
        # The fault is in the body of this request.
        if cycle.response_complete or getattr(cycle, "response_started", False):
            self.transport.close()
        elif self.pipeline:
            self.pipeline.popleft()
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            self._answer(refusal, of=cycle.scope)

    def _answer(self, refusal: Refusal, *, of: Any = None) -> None:  # Any: uvicorn's own type of an ASGI scope
        if self.transport.is_closing():
            return
        headers = of["headers"] if of else self.headers if self._is_in_head else ()
        request_id = accept_or_make(next((value for name, value in headers if name == HEADER), None))
        # In a context of its own: this is no task.
        self.transport.write(contextvars.copy_context().run(self._written, refusal, request_id))
        if of is None:
            self.strictness.count(request_id, refusal.kind.status)
        self._timer = self.loop.call_later(LINGER_S, self.transport.abort)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _written(self, refusal: Refusal, request_id: str) -> bytes:
        set_request_id(request_id)
        status = refusal.kind.status
        response = problem(refusal.kind, refusal.detail, instance="/")
        headers = [
            *self.server_state.default_headers,
            *response.raw_headers,
            (b"x-process-time", b"0.00"),
            (HEADER, request_id.encode()),
            (b"connection", b"close"),
        ]
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        return b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (status, HTTPStatus(status).phrase.encode(), lines, bytes(response.body))

    def _on_late(self) -> None:
        self._timer = None
        if self._is_in_head:
            detail = f"the headers were not complete after {self.strictness.head_timeout_s:g} s"
            self._refuse(Refusal(HEAD_TIMEOUT, detail))
        elif not self._is_busy():
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _size_of_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

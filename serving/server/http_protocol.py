"""uvicorn's HTTP protocol with stricter rules for untrusted clients.

- The head of a request has a maximum size and a time limit. uvicorn has neither, so that one client with endless
  headers can exhaust the memory of the process.
- Invalid bytes are answered after the responses to earlier requests on the connection. uvicorn answers them
  immediately, and the client takes that for the response to an earlier request.
- A WebSocket handshake behind a request without a response is refused: the response would arrive as a frame.
- An offer of another protocol, such as HTTP/2, is ignored. uvicorn's parser assigns the body to that protocol, and the
  request is answered without its body, or the body is parsed as the next request.
- Trailers are discarded (RFC 9110, 6.5.1): a proxy in front of the service has not checked them.
- A request without a valid Host, or of another version than HTTP/1.0 and HTTP/1.1, is refused (RFC 9112, 3.2).
- A client that ends its side of the connection after a request receives the response. uvicorn closes the connection.
- The rest of a body whose request was answered early has a minimum rate and a time limit. In uvicorn it has neither.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NoReturn

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.context import accept_or_make
from serving.http.middleware.request_id import HEADER
from serving.server.half_closed import CHECK_S, StartedTransport, is_reset
from serving.server.refusals import (
    EARLY_HANDSHAKE,
    FAULT,
    INVALID_HANDSHAKE,
    INVALID_HOST,
    INVALID_HTTP,
    LARGE_HEAD,
    OTHER_VERSION,
    Refusal,
    encode_refusal,
    late_head,
)
from serving.server.request_head import DiscardedHeaders, HeadSize, has_valid_host, head_without_upgrade

# How long, and how much of, the remaining bytes of a refused client are read and discarded. Closing immediately resets
# the connection, and the client may lose the response.
LINGER_S: Final = 5.0
LINGER_BYTES: Final = 1 << 20

log = logging.getLogger("makunouchi.errors")

_TRAILERS: Final = DiscardedHeaders()


def _count_nothing(request_id: str, status: int) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class HttpBounds:
    """The time limit of a head, and the function that counts each refusal by request id and status.

    The rest of a body whose request was answered early must arrive with `body_min_rate` bytes per second on average
    during each such time.
    """

    head_timeout_s: float = 20.0
    body_min_rate: int = 0
    count: Callable[[str, int], None] = _count_nothing


class _ParsingStopped(Exception):
    """Raised in a callback of the parser to stop it."""


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    bounds: ClassVar[HttpBounds] = HttpBounds()
    # Whether the client has ended its side of the connection.
    _is_half_closed = False
    # A subclass may use another class than uvicorn's for cycles.
    cycle: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: uvicorn's own
        super().__init__(*args, **kwargs)
        self._is_reading = True
        self._has_received = False
        # Whether the current head offers another protocol.
        self._has_offer = False
        self._head = HeadSize()
        self._discarded_bytes = 0
        # The received bytes of a body whose request was answered early, since the last check; None without such a body.
        self._rest_bytes: int | None = None
        self._rest_ends = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._refusal: Refusal | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # uvloop's transport has another base class
        self._timer = self.loop.call_later(self.timeout_keep_alive, self._on_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._is_reading:
            self._discard(data)
            return
        if not self._has_received:
            self._has_received = True
            self._stop_timer()
        self._head.start_read(len(data))
        if self._rest_bytes is not None:
            self._rest_bytes += len(data)
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            # What a callback raises is the context. It stops the parser with a refusal, or fails to decode the target.
            cause = error.__context__
            if self._refusal is None and not isinstance(cause, httptools.HttpParserError | UnicodeError | None):
                log.error("a request could not be started", exc_info=cause)
                self._refuse(FAULT)
            else:
                self._refuse(self._refusal or INVALID_HTTP)
        self._check_head()

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            else:
                self._parse_without_offer(data[upgrade.args[0] :])

    def _parse_without_offer(self, rest: bytes) -> None:
        """Parse the head again without its offer of another protocol, then the bytes after it."""
        version = self.parser.get_http_version()
        head = head_without_upgrade(self.parser.get_method(), self.url, version, self.headers)
        self._has_offer = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._parse(head + rest)

    def _discard(self, data: bytes) -> None:
        self._discarded_bytes += len(data)
        if self._discarded_bytes > LINGER_BYTES:
            self.flow.pause_reading()

    def _check_head(self) -> None:
        """Enforce the size of an incomplete head, and start its timer, or that of the idle connection."""
        if not self._is_reading:
            return
        if self._head.end_read():
            self._refuse(LARGE_HEAD)
        elif self._timer is not None:
            pass
        elif self._head.is_reading:
            self._timer = self.loop.call_later(self.bounds.head_timeout_s, self._on_timeout)
        elif not self._is_busy() and self.timeout_keep_alive_task is None:
            # Blank lines stop uvicorn's timer.
            self._timer = self.loop.call_later(self.timeout_keep_alive, self._on_timeout)

    def on_message_begin(self) -> None:
        if self._timer is not None:
            self._stop_timer()
        self._head.start_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self._head.is_too_large(self.url, self.headers):
            self._stop_parsing(LARGE_HEAD)
        has_upgrade = self.parser.should_upgrade()
        if has_upgrade and not self._should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                self._stop_parsing(INVALID_HTTP)
            self._has_offer = True
            return
        if has_upgrade and self._is_busy():
            self._stop_parsing(EARLY_HANDSHAKE)
        self.begin()
        self._head.is_reading = False
        self._stop_timer()
        if not has_upgrade:
            self.headers = _TRAILERS

    def begin(self) -> None:
        """Start the request whose head is complete, or refuse its head."""
        version = self.parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self._stop_parsing(OTHER_VERSION)
        if not has_valid_host(self.headers, version):
            self._stop_parsing(INVALID_HOST)
        if version == "1.0":
            # RFC 9110, 10.1.1: such a client does not know the response 100.
            self.expect_100_continue = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if self._rest_bytes is not None:
            self._rest_bytes = None
            self._stop_timer()
        if not self._has_offer:
            super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        self._is_reading = False
        super().handle_websocket_upgrade()
        # The WebSocket protocol has stricter rules for heads, and does not answer when they are broken.
        if not getattr(self.transport.get_protocol(), "handshake_initiated", True):
            self._respond(INVALID_HANDSHAKE)

    def on_response_complete(self) -> None:
        if self._refusal is not None and not self.pipeline:
            self.server_state.total_requests += 1
            self._respond(self._refusal)
        else:
            if self._is_half_closed and not self.pipeline:
                self.transport.close()
            has_rest = self.cycle.more_body and not self.pipeline
            super().on_response_complete()
            if has_rest and not self.transport.is_closing():
                self._unset_keepalive_if_required()
                self._rest_ends = self.loop.time() + self.timeout_keep_alive
                self._start_rest()

    def eof_received(self) -> bool:  # type: ignore[override]  # of asyncio; uvicorn's closes the connection
        """Return whether the connection remains open for the responses to complete requests."""
        self._is_reading = False
        self._stop_timer()
        if not self._is_busy() or self.scheme == "https":
            return False  # asyncio's TLS connections cannot be half-closed.
        cycle = self.cycle
        if not cycle.more_body:
            # A refusal follows the responses, and closes the connection.
            cycle.keep_alive = self._refusal is not None
        elif self.pipeline:
            self.pipeline.popleft()
        else:
            return False
        self._is_half_closed = True
        # The request that is being answered is known only when no other one waits.
        if not (cycle.more_body or self.pipeline or getattr(cycle, "response_started", False)):
            cycle.transport = StartedTransport(self.transport)
            self._timer = self.loop.call_later(CHECK_S, self._cut_if_reset)
        return True

    def _cut_if_reset(self) -> None:
        self._timer = None
        if is_reset(self.transport):
            self.transport.abort()
        elif self._is_busy():
            self._timer = self.loop.call_later(CHECK_S, self._cut_if_reset)

    def _stop_parsing(self, refusal: Refusal) -> NoReturn:
        self._refusal = refusal
        raise _ParsingStopped(refusal.detail)

    def _refuse(self, refusal: Refusal) -> None:
        """Stop reading, and send the refusal after the responses to earlier requests."""
        self._is_reading = False
        self._refusal = refusal
        self._stop_timer()
        cycle = self.cycle
        if cycle is None or self._head.is_reading or not cycle.more_body:
            if not self._is_busy():
                self._respond(refusal)
            return
        # The fault is in the body of the last request.
        if cycle.response_complete or getattr(cycle, "response_started", False):
            self.transport.close()
        elif self.pipeline:
            self.pipeline.popleft()
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            self._respond(refusal, scope=cycle.scope)

    def _respond(self, refusal: Refusal, *, scope: Any = None) -> None:  # Any: uvicorn's own type of an ASGI scope
        """Send the refusal and close. `scope` is that of a request that the application has received and counts."""
        if self.transport.is_closing():
            return
        headers = scope["headers"] if scope else self.headers if self._head.is_reading else ()
        request_id = accept_or_make(next((value for name, value in headers if name == HEADER), None))
        self.transport.write(encode_refusal(refusal, request_id, self.server_state.default_headers))
        if scope is None:
            self.bounds.count(request_id, refusal.problem_type.status)
        self._timer = self.loop.call_later(LINGER_S, self.transport.abort)
        # Reading pauses while pipelined requests wait. The end of the client must be seen.
        self.flow.resume_reading()
        if self.transport.can_write_eof() and not self._is_half_closed:
            self.transport.write_eof()
        else:
            self.transport.close()

    def _on_timeout(self) -> None:
        self._timer = None
        if self._head.is_reading:
            self._refuse(late_head(self.bounds.head_timeout_s))
        elif not self._is_busy():
            self.transport.close()

    def _start_rest(self) -> None:
        """Begin to count the bytes of a body whose request was answered early."""
        self._rest_bytes = 0
        self._stop_timer()
        self._timer = self.loop.call_later(self.bounds.head_timeout_s, self._check_rest)

    def _check_rest(self) -> None:
        self._timer = None
        least = max(1.0, self.bounds.body_min_rate * self.bounds.head_timeout_s)
        if self._rest_bytes is None or self._rest_bytes < least or self.loop.time() >= self._rest_ends:
            self.transport.close()
        else:
            self._start_rest()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

"""uvicorn's HTTP protocol, which passes small requests to the fast path.

The fast path takes a small POST of JSON to one of its operations, without a header that asks for anything special.
uvicorn handles every other request.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar, Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from serving.context import accept_or_make
from serving.server.fast_path.batch_queue import BatchQueues
from serving.server.fast_path.request import FastRequest
from serving.server.http_protocol import HttpBounds, HttpProtocol
from serving.server.request_head import is_host

MAX_BODY_BYTES: Final = 16 << 10
# How long the rest of a body may take after its headers; the application waits longer.
BODY_WAIT_S: Final = 0.05
# Headers that change nothing in the response of an operation with one representation.
_IGNORED: Final = frozenset({b"user-agent", b"accept", b"accept-encoding", b"accept-language"})
_CREDENTIALS: Final = frozenset({b"authorization", b"x-api-key"})
_JSON: Final = frozenset({b"application/json", b"application/json; charset=utf-8"})


class FastPathProtocol(HttpProtocol):
    """One connection, whose cycle may be a FastRequest. `using` sets its queues."""

    queues: ClassVar[BatchQueues] = {}

    @classmethod
    def using(cls, queues: BatchQueues, bounds: HttpBounds | None = None) -> type[FastPathProtocol]:
        """Return this class with `queues`, by path."""
        return type(cls.__name__, (cls,), {"queues": queues, "bounds": bounds or cls.bounds})

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle = self.cycle
        if type(cycle) is FastRequest and cycle.more_body and not cycle.response_complete and not cycle.is_awaited:
            # Many clients send the body after the headers, in a separate segment.
            cycle.is_awaited = True
            self.loop.call_later(BODY_WAIT_S, _fall_back_unless_whole, cycle)

    def begin(self) -> None:
        request = self._fast_request()
        if request is None:
            super().begin()
        else:
            self.cycle = request

    def on_message_complete(self) -> None:
        cycle = self.cycle
        is_awaited = type(cycle) is FastRequest and cycle.more_body
        super().on_message_complete()
        if is_awaited and not cycle.response_complete:
            cycle.queue.submit(cycle)

    def fall_back(self, request: FastRequest) -> None:
        """Hand `request` to the application, with the part of its body that has arrived."""
        path, scope = self.root_path + request.queue.path, request.scope
        scope |= {"method": "POST", "path": path, "raw_path": path.encode("ascii"), "query_string": b""}
        cycle = RequestResponseCycle(
            scope=scope,
            transport=request.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=request.keep_alive,
            on_response=self.on_response_complete,
        )
        cycle.body += request.body
        cycle.more_body = request.more_body
        cycle.disconnected = request.disconnected
        if cycle.body or not cycle.more_body:
            cycle.message_event.set()
        if self.cycle is request:
            self.cycle = cycle
        self._start_asgi_task(cycle, self.app)

    def _fast_request(self) -> FastRequest | None:
        """Return the request whose headers were just read, if the fast path takes it."""
        queue = self.queues.get(self.url)
        if queue is None or not queue.is_open() or self.flow.write_paused:
            return None
        if self.cycle is not None and not self.cycle.response_complete:
            return None  # One after the other: uvicorn queues pipelined requests.
        parser = self.parser
        if parser.get_method() != b"POST" or parser.get_http_version() != "1.1" or not parser.should_keep_alive():
            return None
        length, has_credential = b"", False
        host: bytes | None = None
        content_type: bytes | None = None
        offered: bytes | None = None
        for name, value in self.headers:
            if name == b"content-length":
                length = value
            elif name == b"host" and host is None:
                host = value
            elif name == b"content-type" and content_type is None:
                content_type = value
            elif name == b"x-request-id" and offered is None:
                offered = value
            elif name in _CREDENTIALS:
                has_credential = True
            elif name not in _IGNORED and not (name == b"connection" and value.lower() == b"keep-alive"):
                return None
        if content_type not in _JSON or not length.isdigit() or not 0 < int(length) <= MAX_BODY_BYTES:
            return None
        if host is None or not is_host(host):
            return None  # `HttpProtocol` refuses it.
        if not queue.admits(self.headers if has_credential else ()):
            return None
        return FastRequest(self, queue, self.scope, accept_or_make(offered))


def _fall_back_unless_whole(request: FastRequest) -> None:
    if request.more_body and not request.response_complete:
        request.fall_back()

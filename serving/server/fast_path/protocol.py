"""uvicorn's HTTP protocol, with a turn-off for plain requests. Knows headers, no calls.

Plain is a small POST of JSON to a path that has a short road, with no header that asks for anything special.
Every other request is uvicorn's, untouched.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar, Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from serving.context import accept_or_make
from serving.server.fast_path.batch_queue import BatchQueues
from serving.server.fast_path.request import FastRequest
from serving.server.http_protocol import HttpBounds, HttpProtocol

MAX_BODY_BYTES: Final = 16 << 10
# How long the rest of a body may take after its headers. The ordinary road knows how to wait longer.
BODY_WAIT_S: Final = 0.05
# Headers that change nothing in the answer of a call that has one representation.
_IGNORED: Final = frozenset({b"host", b"user-agent", b"accept", b"accept-encoding", b"accept-language"})
_CREDENTIALS: Final = frozenset({b"authorization", b"x-api-key"})
_JSON: Final = frozenset({b"application/json", b"application/json; charset=utf-8"})


class FastPathProtocol(HttpProtocol):
    """One connection. What uvicorn calls a cycle may be an FastRequest here. `using` gives it its roads."""

    roads: ClassVar[BatchQueues] = {}

    @classmethod
    def using(cls, roads: BatchQueues, bounds: HttpBounds | None = None) -> type[FastPathProtocol]:
        """This class with `roads`, by path."""
        return type(cls.__name__, (cls,), {"roads": roads, "bounds": bounds or cls.bounds})

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle = self.cycle
        if type(cycle) is FastRequest and cycle.more_body and not cycle.response_complete and not cycle.is_awaited:
            # Many clients send the body after the headers, in a segment of its own.
            cycle.is_awaited = True
            self.loop.call_later(BODY_WAIT_S, _divert_unless_whole, cycle)

    def begin(self) -> None:
        asked = self._asked()
        if asked is None:
            super().begin()
        else:
            self.cycle = asked

    def on_message_complete(self) -> None:
        cycle = self.cycle
        is_awaited = type(cycle) is FastRequest and cycle.more_body
        super().on_message_complete()
        if is_awaited and not cycle.response_complete:
            cycle.road.take(cycle)

    def take_ordinary_road(self, asked: FastRequest) -> None:
        """Hand `asked` to the application, with what came of its body."""
        path, scope = self.root_path + asked.road.path, asked.scope
        scope |= {"method": "POST", "path": path, "raw_path": path.encode("ascii"), "query_string": b""}
        cycle = RequestResponseCycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=asked.keep_alive,
            on_response=self.on_response_complete,
        )
        cycle.body += asked.body
        cycle.more_body = asked.more_body
        cycle.disconnected = asked.disconnected
        if cycle.body or not cycle.more_body:
            cycle.message_event.set()
        if self.cycle is asked:
            self.cycle = cycle
        self._start_asgi_task(cycle, self.app)

    def _asked(self) -> FastRequest | None:
        """The request whose headers were just read, where it is plain."""
        road = self.roads.get(self.url)
        if road is None or not road.is_open() or self.flow.write_paused:
            return None
        if self.cycle is not None and not self.cycle.response_complete:
            return None  # One after the other: uvicorn puts pipelined requests in line.
        parser = self.parser
        if parser.get_method() != b"POST" or parser.get_http_version() != "1.1" or not parser.should_keep_alive():
            return None
        length, has_credential = b"", False
        content_type: bytes | None = None
        offered: bytes | None = None
        for name, value in self.headers:
            if name == b"content-length":
                length = value
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
        if not road.admits(self.headers if has_credential else ()):
            return None
        return FastRequest(self, road, self.scope, accept_or_make(offered))


def _divert_unless_whole(asked: FastRequest) -> None:
    if asked.more_body and not asked.response_complete:
        asked.divert()

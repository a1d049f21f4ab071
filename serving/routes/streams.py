"""Batches whose results are sent one by one, as Server-Sent Events.

Events of a POST are in the order in which they are finished. Events of a GET are in the order of the request, so that a
client that lost its connection goes on where it was: the EventSource of browsers sends the id of its last event.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from serving.context import current_caller
from serving.errors.problem_types import CALL_FAILURES, VALIDATION
from serving.http.operation import CALL_PROBLEMS, Content, JsonSchema, Operation
from serving.http.server_sent_events import (
    DONE,
    MEDIA_TYPE,
    EventStream,
    event,
    in_completion_order,
    in_request_order,
)
from serving.kinds.handlers import Handlers
from serving.kinds.interface import Handler, Stream, StreamQuery
from serving.shared_limit import SharedLimit

LAST_EVENT_ID: Final = "Last-Event-ID"
# Without a type: some tools read the schema as that of the text, others as that of one event.
_EVENTS: JsonSchema = {
    "description": "Events `item`, each with the place in the request as its id and one result or one error as its "
    "data, as in the batch call; then one event `done` with how many there were and how many of them failed.",
}
_RESUMED: JsonSchema = {
    "name": LAST_EVENT_ID,
    "in": "header",
    "description": "Id of the last event that the client received: the stream goes on after it. Browsers send it.",
    "schema": {"type": "string"},
}


MAX_STREAMS: Final = 256


def operations(handlers: Handlers, open_streams: SharedLimit | None = None) -> list[Operation]:
    """Return the operations of the streams: those of the kinds, then those of each model. They share `open_streams`."""
    open_streams = open_streams or new_limit()
    result: list[Operation] = []
    streams = [(handler, stream) for handler in handlers.firsts for stream in handler.streams()]
    streams += [(handler, stream) for handler in handlers for stream in handler.model_streams()]
    for handler, stream in streams:
        result.append(_operation(handler, stream, open_streams))
        if stream.query is not None:
            result.append(_query_operation(handler, stream, stream.query, open_streams))
    return result


def new_limit() -> SharedLimit:
    """Return the limit of open streams of a gateway."""
    return SharedLimit(MAX_STREAMS, name="open streams")


def _operation(handler: Handler[Any], stream: Stream, open_streams: SharedLimit) -> Operation:
    async def answer(request: Request) -> Response:
        calls = await stream.read(request)
        return _opened(handler, open_streams, lambda: in_completion_order([call() for call in calls]))

    return Operation(
        id=stream.id,
        method="POST",
        takes_version=True,
        path=stream.path,
        model=stream.model,
        tag=stream.tag,
        summary=stream.summary,
        description=stream.description,
        handler=answer,
        body=stream.body,
        answer=_content(stream.example),
        answer_description=stream.answer_description,
        problems=CALL_PROBLEMS,
    )


def _query_operation(handler: Handler[Any], stream: Stream, query: StreamQuery, open_streams: SharedLimit) -> Operation:
    async def answer(request: Request) -> Response:
        calls = query.read(request)
        last = request.headers.get(LAST_EVENT_ID, "")
        if last == DONE:
            # EventSource connects again after the end of a stream, unless it gets 204.
            return Response(status_code=204, headers={"Cache-Control": "no-store"})
        start = min(int(last) + 1, len(calls)) if last.isascii() and last.isdecimal() and len(last) < 9 else 0
        return _opened(handler, open_streams, lambda: in_request_order([call() for call in calls[start:]], start=start))

    return Operation(
        id=query.id,
        method="GET",
        takes_version=True,
        path=stream.path,
        model=stream.model,
        tag=stream.tag,
        summary=f"{stream.summary}, by a GET request",
        description=f"As `{stream.id}`, for EventSource in browsers: events are in the order of the request, and a "
        f"connection with `{LAST_EVENT_ID}` gets the events after it.",
        handler=answer,
        parameters=lambda: (*query.parameters(), _RESUMED),
        answer=_content(stream.example),
        answer_description=stream.answer_description,
        more_statuses={204: "The client has the whole stream."},
        problems=(VALIDATION, *CALL_FAILURES),
    )


def _opened(
    handler: Handler[Any], open_streams: SharedLimit, events: Callable[[], AsyncIterator[bytes]]
) -> EventStream:
    """Return the response with `events`, which holds a place of its caller among the open streams until it ends."""
    handler.model.router.choose()  # A version that does not answer is a fault of the whole request.
    caller = current_caller()
    open_streams.acquire(caller)
    return EventStream(events(), on_end=lambda: open_streams.release(caller))


def _content(item: dict[str, Any]) -> Content:
    shown = event("item", "0", orjson.dumps(item)) + event("done", DONE, b'{"items":1,"failed":0}')
    return Content(MEDIA_TYPE, lambda: _EVENTS, lambda: {"events": shown.decode()})

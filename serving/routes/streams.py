"""Batches whose results are sent one by one, as Server-Sent Events, in the order in which they are finished."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from serving.context import current_caller
from serving.http.operation import CALL_PROBLEMS, Content, JsonSchema, Operation
from serving.http.server_sent_events import MEDIA_TYPE, EventStream, event, in_completion_order
from serving.kinds.interface import Handler, Stream
from serving.shared_limit import SharedLimit

# No type: to some readers of the document this is the whole stream, a text, and to others one event, an object.
_EVENTS: JsonSchema = {
    "description": "Events `item`, each with the place in the request as its id and one result or one error as its "
    "data, as in the batch call; then one event `done` with how many there were and how many of them failed.",
}


MAX_STREAMS: Final = 256


def operations(handlers: Iterable[Handler[Any]]) -> list[Operation]:
    """Return the operations of the streams of all models."""
    open_streams = SharedLimit(MAX_STREAMS, name="open streams")
    return [_operation(handler, stream, open_streams) for handler in handlers for stream in handler.streams()]


def _operation(handler: Handler[Any], stream: Stream, open_streams: SharedLimit) -> Operation:
    async def answer(request: Request) -> Response:
        calls = await stream.read(request)
        handler.model.router.choose()  # A version that does not answer is a fault of the whole request.
        caller = current_caller()
        open_streams.acquire(caller)
        events = in_completion_order([call() for call in calls])
        return EventStream(events, on_end=lambda: open_streams.release(caller))

    return Operation(
        id=stream.id,
        method="POST",
        takes_version=True,
        path=stream.path,
        tag=stream.tag,
        summary=stream.summary,
        description=stream.description,
        handler=answer,
        body=stream.body,
        answer=_content(stream.example),
        answer_description=stream.answer_description,
        problems=CALL_PROBLEMS,
    )


def _content(item: dict[str, Any]) -> Content:
    shown = event("item", "0", orjson.dumps(item)) + event("done", "done", b'{"items":1,"failed":0}')
    return Content(MEDIA_TYPE, lambda: _EVENTS, lambda: {"events": shown.decode()})

"""Server-Sent Events: items as they finish, then one terminal event.

The format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import orjson
from pydantic import BaseModel

from serving.http.streaming import ReleasingResponse

MEDIA_TYPE = "text/event-stream"


class EventStream(ReleasingResponse):
    """A streaming response of `events`, with headers that disable buffering by proxies."""

    def __init__(self, events: AsyncIterator[bytes], *, on_end: Callable[[], None] = lambda: None) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(events, headers=headers, media_type=MEDIA_TYPE, on_end=on_end)


async def in_completion_order(items: Sequence[Awaitable[BaseModel]]) -> AsyncIterator[bytes]:
    """Yield an event `item` for each of `items` as it finishes, with its position as id; then an event `done`.

    Items must not raise. When the client disconnects, unfinished items are cancelled.
    """
    tasks = {asyncio.ensure_future(item): index for index, item in enumerate(items)}
    failed = 0
    try:
        pending = set(tasks)
        while pending:
            finished, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(finished, key=lambda each: tasks[each]):
                item = task.result()
                failed += getattr(item, "status", "ok") == "error"
                yield event("item", str(tasks[task]), item.__pydantic_serializer__.to_json(item))
        yield event("done", "done", orjson.dumps({"items": len(tasks), "failed": failed}))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def event(kind: str, id_: str, data: bytes) -> bytes:
    """Return one event. `data` is JSON in one line."""
    return b"event: %s\nid: %s\ndata: %s\n\n" % (kind.encode(), id_.encode(), data)

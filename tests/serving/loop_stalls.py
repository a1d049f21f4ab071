"""Measure how long an event loop is held: the processor time of its longest iteration, on a busy machine too."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from starlette.types import ASGIApp, Message

T = TypeVar("T")

# Processor time grows when other programs share the caches: the bound is three times that of the service, and the
# shortest of a few tries counts.
BOUND_S: Final = 0.15
TRIES: Final = 5


@dataclass(slots=True)
class Stall:
    """The longest iteration of an event loop, in seconds of processor time."""

    seconds: float = 0.0


@contextlib.contextmanager
def longest_stall() -> Iterator[Stall]:
    """Measure the event loops of this thread inside the block. No other task runs during an iteration."""
    stall = Stall()
    run_once: Callable[[Any], None] = asyncio.BaseEventLoop._run_once  # type: ignore[attr-defined]

    def measured(loop: Any) -> None:  # Any: asyncio's own class
        started = time.thread_time()
        run_once(loop)
        stall.seconds = max(stall.seconds, time.thread_time() - started)

    asyncio.BaseEventLoop._run_once = measured  # type: ignore[attr-defined]
    try:
        yield stall
    finally:
        asyncio.BaseEventLoop._run_once = run_once  # type: ignore[attr-defined]


def run_without_stall(send: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Return the result of a request. Raise AssertionError when it holds the event loop for BOUND_S or longer."""
    shortest = float("inf")
    for _ in range(TRIES):
        with longest_stall() as stall:
            result = asyncio.run(send())
        if stall.seconds < BOUND_S:
            return result
        shortest = min(shortest, stall.seconds)
    raise AssertionError(f"the event loop was held for {shortest:.2f} s of processor time")


async def post(app: ASGIApp, path: str, content_type: str, body: bytes, **headers: str) -> tuple[int, bytes]:
    """Send a request to `app` without the work of a client. Return the status and the body of the response."""
    status, answer, is_sent = 0, b"", False

    async def receive() -> Message:
        nonlocal is_sent
        if is_sent:
            await asyncio.Event().wait()
        is_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status, answer
        status = message.get("status", status)
        answer += message.get("body", b"")

    given = {"content-type": content_type, "content-length": str(len(body)), **headers}
    path, _, query = path.partition("?")
    await app(
        {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.lower().replace("_", "-").encode(), value.encode()) for name, value in given.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        },
        receive,
        send,
    )
    return status, answer

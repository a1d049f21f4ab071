"""Small ASGI responses, without a framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson
from starlette.types import Receive, Scope, Send

PICKLE: Final = b"application/vnd.bentoml+pickle"


_JSON: Final = [(b"content-type", b"application/json")]


def gone(receive: Receive) -> Callable[[], bool]:
    """Whether the client of this request has closed its connection, without a task that waits for it.

    uvicorn's `receive` is a method of the object that knows. Under another server nobody is ever gone.
    """
    cycle: Any = getattr(receive, "__self__", None)  # Any: uvicorn's own
    if not hasattr(cycle, "disconnected"):
        return lambda: False
    return lambda: bool(cycle.disconnected)


def carries_pickle(scope: Scope) -> bool:
    """Whether the request says that its body is BentoML's pickle."""
    return any(name == b"content-type" and value.strip().lower().startswith(PICKLE) for name, value in scope["headers"])


async def reply(send: Send, status: int, document: dict[str, Any]) -> None:  # Any: JSON
    """Send a small JSON document."""
    await _send(send, status, _JSON, orjson.dumps(document))


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    sized = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": sized})
    await send({"type": "http.response.body", "body": body})

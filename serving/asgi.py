"""Small ASGI responses and checks, without a framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson
from starlette.types import Receive, Scope, Send

PICKLE: Final = b"application/vnd.bentoml+pickle"
JSON_HEADERS: Final = [(b"content-type", b"application/json")]


def disconnect_checker(receive: Receive) -> Callable[[], bool]:
    """Return a function that tells, without waiting, whether the client has closed its connection.

    It reads the state of uvicorn's request cycle, whose method `receive` is. With another server it returns False.
    """
    cycle: Any = getattr(receive, "__self__", None)  # Any: uvicorn's own
    if not hasattr(cycle, "disconnected"):
        return lambda: False
    return lambda: bool(cycle.disconnected)


def carries_pickle(scope: Scope) -> bool:
    """Return whether the Content-Type of the request is BentoML's pickle."""
    return any(name == b"content-type" and value.strip().lower().startswith(PICKLE) for name, value in scope["headers"])


async def reply(send: Send, status: int, document: dict[str, Any]) -> None:  # Any: JSON
    """Send a small JSON document."""
    await send_response(send, status, JSON_HEADERS, orjson.dumps(document))


async def send_response(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    """Send a complete response, with its Content-Length."""
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

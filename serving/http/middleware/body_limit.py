"""Limit the size of request bodies, with or without Content-Length."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.errors import InputTooLarge
from serving.errors.problem_types import TOO_LARGE
from serving.http.problem_details import problem

# How long the rest of a refused body is read and discarded.
LINGER_S = 5.0


class BodyLimit:
    """Middleware that answers 413 to a body of more than `max_body_bytes`. `at` has other limits by path.

    `limit_at` returns another limit for a path, or None.

    A body whose Content-Length is over the limit is refused before it is read. Other bodies are counted as they arrive;
    over the limit the application's own response is dropped, unless it has started.
    """

    def __init__(
        self, app: ASGIApp, *, max_body_bytes: int, limit_at: Callable[[str], int | None] = lambda path: None
    ) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._limit_at = limit_at

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit_of(scope)
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if declared.isdigit() and int(declared) > limit:
            await self._refuse(scope, receive, send)
            return
        await _CountedRequest(self._app, limit, self._refuse).run(scope, receive, send)

    def _limit_of(self, scope: Scope) -> int:
        limit = self._limit_at(scope["path"])
        return self._max_body_bytes if limit is None else limit

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = self._limit_of(scope)
        detail = f"the body is larger than {limit} bytes, the limit of this path"
        # The rest of the body is not read, so the connection cannot be reused.
        response = problem(TOO_LARGE, detail, instance=scope["path"], headers={"Connection": "close"})
        await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
        await send({"type": "http.response.body", "body": response.body, "more_body": True})
        # Closing the connection while the client still sends resets it, and many clients then lose the response. A
        # client that sent `Expect: 100-continue` waits and sends nothing.
        if not any(name == b"expect" for name, _ in scope["headers"]):
            await _linger(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _linger(receive: Receive) -> None:
    """Read and discard the rest of the body for at most LINGER_S."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            more_body = True
            while more_body:
                message = await receive()
                more_body = message["type"] == "http.request" and message.get("more_body", False)


class _LimitExceeded(InputTooLarge):
    """Stops the application's reading of the body; caught in this module."""


class _CountedRequest:
    """A request whose body is counted as the application reads it."""

    def __init__(self, app: ASGIApp, max_body_bytes: int, refuse: ASGIApp) -> None:
        self._app = app
        self._remaining = max_body_bytes
        self._refuse = refuse
        self._is_exceeded = False
        self._has_started = False

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_counted() -> Message:
            message = await receive()
            self._remaining -= len(message.get("body", b""))
            if self._remaining < 0:
                self._is_exceeded = True
                raise _LimitExceeded("the body is over the limit")
            return message

        async def send_unless_exceeded(message: Message) -> None:
            if self._is_exceeded and not self._has_started:
                return
            self._has_started = True
            await send(message)

        try:
            await self._app(scope, receive_counted, send_unless_exceeded)
        except _LimitExceeded:
            pass
        except Exception:
            # The application may turn the interrupted body into any error.
            if not self._is_exceeded:
                raise
        if self._is_exceeded and not self._has_started:
            await self._refuse(scope, receive, send)

"""Refuses a request body over a limit while it streams in, whatever Content-Length says. Knows bytes, no content."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.errors import InputTooLarge
from serving.errors.problem_types import TOO_LARGE
from serving.http.problem_details import problem

LINGER_S = 5.0


class BodyLimit:
    """Passes on bodies of at most `max_body_bytes`, and answers 413 to others, reading no further.

    `limit_at` returns another limit for a path, or None. A body that says its length is refused before a byte of it is
    read. One that does not is refused when the limit is passed; whatever the application says then is thrown away,
    unless it has answered already.
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
        await _Counted(self._app, limit, self._refuse).run(scope, receive, send)

    def _limit_of(self, scope: Scope) -> int:
        limit = self._limit_at(scope["path"])
        return self._max_body_bytes if limit is None else limit

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = self._limit_of(scope)
        detail = f"the body is larger than the {limit} bytes that are accepted"
        # The rest of the body may never be read, so the connection cannot be used again.
        response = problem(TOO_LARGE, detail, instance=scope["path"], headers={"Connection": "close"})
        await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
        await send({"type": "http.response.body", "body": response.body, "more_body": True})
        # Closing on a client that still sends resets the connection, and many never see the answer then. One that
        # asked first has nothing on its way.
        if not any(name == b"expect" for name, _ in scope["headers"]):
            await _linger(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _linger(receive: Receive) -> None:
    """Read and forget what is still on its way, for LINGER_S at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            more_body = True
            while more_body:
                message = await receive()
                more_body = message["type"] == "http.request" and message.get("more_body", False)


class _PassedLimit(InputTooLarge):
    """Ends the application's reading of the body. Never leaves this module."""


class _Counted:
    """One request, its body counted."""

    def __init__(self, app: ASGIApp, max_body_bytes: int, refuse: ASGIApp) -> None:
        self._app = app
        self._left = max_body_bytes
        self._refuse = refuse
        self._is_over = False
        self._has_started = False

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted() -> Message:
            message = await receive()
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                self._is_over = True
                raise _PassedLimit("the body is over the limit")
            return message

        async def watched(message: Message) -> None:
            if self._is_over and not self._has_started:
                return
            self._has_started = True
            await send(message)

        try:
            await self._app(scope, counted, watched)
        except _PassedLimit:
            pass
        except Exception:
            # What an application makes of the interrupted body is no error of its own.
            if not self._is_over:
                raise
        if self._is_over and not self._has_started:
            await self._refuse(scope, receive, send)

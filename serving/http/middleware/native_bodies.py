"""Read and check the bodies of requests to BentoML's own routes, which have no limits."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.errors import InputError, InputTooLarge
from serving.http.problem_details import problem_of
from serving.http.requests.json_bounds import JsonBounds, check_json

# BentoML makes a fault of each wrong value, so its share of the time is larger than in our operations.
_BOUNDS: Final = JsonBounds(parsing_us=15_000.0)
# BentoML parses bodies of all other types as JSON.
_NOT_JSON: Final = (b"multipart/", b"image/")


class NativeBodies:
    """Middleware that answers 413 and 422 to bodies that would hold the event loop."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        try:
            body = await self._read(scope, receive)
        except InputError as error:
            response = problem_of(error, instance=scope["path"])
            # The rest of the body is not read.
            response.headers["Connection"] = "close"
            await response(scope, receive, send)
            return
        if body is None:
            return
        is_read = False

        async def receive_read() -> Message:
            nonlocal is_read
            if is_read:
                return await receive()
            is_read = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, receive_read, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the checked body, or None if the client disconnects first. Raises InputError."""
        body, more_body = bytearray(), True
        while more_body:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            more_body = message.get("more_body", False)
            if len(body) > self._max_body_bytes:
                raise InputTooLarge(f"the body is larger than {self._max_body_bytes} bytes, the limit of this path")
        content_type = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
        if not content_type.lower().startswith(_NOT_JSON):
            await check_json(body, _BOUNDS)
        return bytes(body)

"""A streaming response that always calls a function at its end, also when its content was never read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send


class ReleasingResponse(StreamingResponse):
    """A response 200 that calls `on_end` when it was sent, when the client has left, and after an error."""

    def __init__(
        self,
        content: AsyncIterator[bytes],
        *,
        headers: Mapping[str, str],
        media_type: str,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(content, 200, headers, media_type)
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_end()

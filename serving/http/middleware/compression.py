"""Compress responses to GET and HEAD: pages, documents, lists. Predictions are not compressed."""

from __future__ import annotations

from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

MINIMUM_BYTES = 1000
# Level 9 takes three times as long and saves 1 % of the pages' scripts.
LEVEL = 5


class CompressReads:
    """Middleware that applies gzip to responses to GET and HEAD of at least MINIMUM_BYTES, if the client accepts it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._compressed = GZipMiddleware(app, minimum_size=MINIMUM_BYTES, compresslevel=LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_read = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        await (self._compressed if is_read else self._app)(scope, receive, send)

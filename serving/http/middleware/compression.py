"""Compress responses to GET and HEAD: documents and lists. Predictions are not; pages are kept compressed."""

from __future__ import annotations

from starlette.middleware.gzip import GZipMiddleware, IdentityResponder
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.http.representation import LEVEL, MINIMUM_BYTES, accepts_gzip


class CompressReads:
    """Middleware that applies gzip to responses to GET and HEAD of at least MINIMUM_BYTES, if the client accepts it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._compressed = GZipMiddleware(app, minimum_size=MINIMUM_BYTES, compresslevel=LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        responder: ASGIApp = self._app
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            accepted = [value.decode("latin-1") for name, value in scope["headers"] if name == b"accept-encoding"]
            is_compressed = accepts_gzip(accepted)
            responder = self._compressed if is_compressed else IdentityResponder(self._app, MINIMUM_BYTES)
        await responder(scope, receive, send)

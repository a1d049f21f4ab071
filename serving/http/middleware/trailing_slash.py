"""Ignore a trailing slash in paths."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class TrailingSlash:
    """Middleware that routes `/v1/models/` to `/v1/models`, without a redirect that resends the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and scope["path"].endswith("/") and scope["path"] != "/":
            # In place: outer middleware reads the matched route from the same scope.
            scope["path"] = scope["path"].rstrip("/") or "/"
            scope["raw_path"] = scope.get("raw_path", b"").partition(b"?")[0].rstrip(b"/") or b"/"
        await self._app(scope, receive, send)

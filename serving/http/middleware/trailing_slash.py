"""Ignore a trailing slash in paths."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

# Where the scope says that the path had a slash: links of pages are relative to it.
HAD_SLASH: Final = "makunouchi.had_slash"


class TrailingSlash:
    """Middleware that routes `/v1/models/` to `/v1/models`, without a redirect that resends the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and scope["path"].endswith("/") and scope["path"] != "/":
            scope[HAD_SLASH] = True
            # In place: outer middleware reads the matched route from the same scope.
            scope["path"] = scope["path"].rstrip("/") or "/"
            scope["raw_path"] = scope.get("raw_path", b"").partition(b"?")[0].rstrip(b"/") or b"/"
        await self._app(scope, receive, send)

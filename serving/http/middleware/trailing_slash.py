"""Takes a path with a slash at its end for the one without. Knows paths only."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class TrailingSlash:
    """Answers `/v1/models/` as `/v1/models`. No redirect: a client would send its body twice."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and scope["path"].endswith("/") and scope["path"] != "/":
            # In place: what is outside of this reads from the same scope which route answered.
            scope["path"] = scope["path"].rstrip("/") or "/"
            scope["raw_path"] = scope.get("raw_path", b"").partition(b"?")[0].rstrip(b"/") or b"/"
        await self._app(scope, receive, send)

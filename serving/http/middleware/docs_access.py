"""Keeps the pages and documents to callers that may read, where a setting asks for that. Knows their paths."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.access.guard import Guard
from serving.http.problem_details import problem_of

# BentoML answers the last one; the others are `routes/pages.py`.
PAGES = frozenset({"/", "/redoc", "/openapi.json", "/docs.json", "/ui", "/schema.json"})
BELOW = "/ui/"


class DocsAccess:
    """Asks for the role of the documents at PAGES and below BELOW. Operations ask for themselves."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (scope["path"] in PAGES or scope["path"].startswith(BELOW)):
            try:
                await self._guard.admit(scope, "docs")
            except Exception as error:
                await problem_of(error, instance=scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)

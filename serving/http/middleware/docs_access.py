"""Restrict the documentation pages and documents to callers with the role `read`, if a setting requires it."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.access.guard import Guard
from serving.http.problem_details import problem_of

# The last one is BentoML's; the others are in `routes/pages.py`.
PAGES = frozenset({"/", "/redoc", "/openapi.json", "/docs.json", "/ui", "/schema.json"})
PREFIX = "/ui/"


class DocsAccess:
    """Middleware that requires the access `docs` at PAGES and under PREFIX. Operations check their own access."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (scope["path"] in PAGES or scope["path"].startswith(PREFIX)):
            try:
                await self._guard.admit(scope, "docs")
            except Exception as error:
                await problem_of(error, instance=scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)

"""The OpenAPI document and the pages that show it. The pages use only files that the service itself serves."""

from __future__ import annotations

import re
from pathlib import Path

from anyio.to_thread import run_sync
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from serving.http.openapi.document import OpenApiDocument
from serving.http.operation import Handler
from serving.http.requests.json_body import resource

# The pages, their style sheets and scripts, and ReDoc.
UI_FOLDER = Path(__file__).parent.parent / "ui"
# BentoML's package includes Swagger UI.
_SWAGGER_UI = ("bentoml", "_internal/server/static_content")
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; worker-src 'self' blob:; form-action 'none'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def routes(document: OpenApiDocument) -> list[BaseRoute]:
    """Return the routes of `/`, `/redoc`, `/openapi.json`, `/docs.json`, and of the files under `/ui`."""

    async def openapi(request: Request) -> Response:
        vary = "Host, X-Forwarded-Host, X-Forwarded-Proto, X-Forwarded-Prefix"
        return resource(request, await run_sync(document.document, server_url(request)), vary=vary)

    return [
        Route("/", _page("swagger.html"), name="swagger"),
        Route("/redoc", _page("redoc.html"), name="redoc"),
        Route("/openapi.json", openapi, name="openapi"),
        Route("/docs.json", openapi, name="docs"),
        Mount("/ui", _Assets(directory=UI_FOLDER, packages=[_SWAGGER_UI]), name="ui"),
    ]


def server_url(request: Request) -> str:
    """Return the URL under which the client reaches this service: that of the proxy's headers, or of the request."""
    headers = request.headers
    host = _first(headers, "x-forwarded-host") or headers.get("host", "")
    scheme = _first(headers, "x-forwarded-proto") or request.url.scheme
    prefix = _first(headers, "x-forwarded-prefix").rstrip("/") or request.scope.get("root_path", "")
    if not _HOST.fullmatch(host) or scheme not in ("http", "https") or not _PREFIX.fullmatch(prefix):
        return "/"
    return f"{scheme}://{host}{prefix}"


def _first(headers: Headers, name: str) -> str:
    return headers.get(name, "").partition(",")[0].strip()


def _page(file: str) -> Handler:
    html = (UI_FOLDER / file).read_text(encoding="utf-8")

    async def page(request: Request) -> Response:
        return HTMLResponse(html, headers=_PAGE_HEADERS)

    return page


class _Assets(StaticFiles):
    """Files of the pages. Their names contain no version, so browsers must revalidate them (`no-cache`, 304)."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(b"cache-control", b"no-cache"), (b"x-content-type-options", b"nosniff")]
            await send(message)

        await super().__call__(scope, receive, send_with_headers)

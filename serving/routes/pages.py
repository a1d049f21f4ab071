"""The OpenAPI document and the pages that show it. The pages use only files that the service itself serves.

Anyone may request them, so a response costs little: its bytes and its compressed bytes are kept in memory.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from serving.access.client_address import url_of
from serving.concurrency import SharedResult
from serving.context import current_public_url
from serving.http.middleware.trailing_slash import HAD_SLASH
from serving.http.openapi.document import OpenApiDocument
from serving.http.operation import Handler
from serving.http.representation import Representation
from serving.http.requests.json_body import NO_CACHE, PRIVATE_NO_CACHE

# The pages, their style sheets and scripts, and ReDoc.
UI_FOLDER = Path(__file__).parent.parent / "ui"
# BentoML's package includes Swagger UI.
_SWAGGER_UI = "_internal/server/static_content"
_REFERENCE = re.compile(rb'(href|src)="(?:\./)?')
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
}


def routes(document: OpenApiDocument, *, is_private: bool = False) -> list[BaseRoute]:
    """Return the routes of `/`, `/redoc`, `/openapi.json`, `/docs.json`, and of the files under `/ui`.

    `is_private`: they require a key, so that shared caches must not store them.
    """
    control = {"Cache-Control": PRIVATE_NO_CACHE if is_private else NO_CACHE}

    async def openapi(request: Request) -> Response:
        vary = "Host, Forwarded, X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, X-Forwarded-Prefix"
        representation = await document.representation(server_url(request))
        return representation.response(request, {**control, "Vary": vary})

    return [
        Route("/", _page("swagger.html", _PAGE_HEADERS | control), name="swagger"),
        Route("/redoc", _page("redoc.html", _PAGE_HEADERS | control), name="redoc"),
        Route("/openapi.json", openapi, name="openapi"),
        Route("/docs.json", openapi, name="docs"),
        Route("/ui/{name}", _files({"X-Content-Type-Options": "nosniff"} | control), name="ui"),
    ]


def server_url(request: Request) -> str:
    """Return the URL under which the client reaches this service: through trusted proxies, or that of the request."""
    public = current_public_url()
    origin, prefix = public.origin or url_of(request.scope), public.prefix or request.scope.get("root_path", "")
    return f"{origin}{prefix}" if origin else "/"


def _page(file: str, headers: Mapping[str, str]) -> Handler:
    page = _kept(UI_FOLDER / file)
    # The same page at a path with a slash at its end. Its references are relative, so that a proxy can add a prefix.
    page_below = SharedResult(
        lambda: Representation.of(_REFERENCE.sub(rb'\1="../', (UI_FOLDER / file).read_bytes()), "text/html")
    )

    async def show(request: Request) -> Response:
        is_below = HAD_SLASH in request.scope
        return (await (page_below if is_below else page).get()).response(request, headers)

    return show


def _files(headers: Mapping[str, str]) -> Handler:
    """Return the handler of the files. Their names contain no version, so browsers must revalidate them."""
    paths = [path for folder in (_swagger_ui(), UI_FOLDER) for path in folder.iterdir() if path.is_file()]
    files = {path.name: _kept(path) for path in paths}

    async def show(request: Request) -> Response:
        file = files.get(request.path_params["name"])
        if file is None:
            raise HTTPException(404)
        return (await file.get()).response(request, headers)

    return show


def _kept(path: Path) -> SharedResult[Representation]:
    """Return the content of a file, which is in memory from the first request on."""
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return SharedResult(lambda: Representation.of(path.read_bytes(), media_type))


def _swagger_ui() -> Path:
    package = find_spec("bentoml")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("bentoml, whose package includes Swagger UI")
    return Path(package.origin).parent / _SWAGGER_UI

"""Cross-origin resource sharing for the origins that a setting names.

It surrounds the middleware that sends responses (time limits, shutdown, 500): a browser hides a response without CORS
headers from the page, including the error in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.errors.problem_types import FORBIDDEN
from serving.http.problem_details import problem

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
ACCEPTED = (
    "API-Version",
    "Authorization",
    "Baggage",
    "Cache-Control",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Inference-Header-Content-Length",
    "Last-Event-ID",
    "Traceparent",
    "Tracestate",
    "X-API-Key",
    "X-Model-Version",
    "X-Priority",
    "X-Request-ID",
    "X-Request-Timeout",
    "X-Session-ID",
)
EXPOSED = (
    "API-Version",
    "Deprecation",
    "ETag",
    "Inference-Header-Content-Length",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Sunset",
    "X-Cache",
    "X-Process-Time",
    "X-Request-ID",
)
_PREFLIGHT_S = 600


class Cors(CORSMiddleware):
    """Starlette's CORS middleware, with a problem document as the response to a refused preflight."""

    def __init__(self, app: ASGIApp, *, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=ACCEPTED,
            # No credentials: keys are sent in headers, and a wildcard origin must not allow cookies.
            allow_credentials=False,
            expose_headers=EXPOSED,
            max_age=_PREFLIGHT_S,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        if scope.get("method") == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers:
            await self._preflight(headers, scope["path"])(scope, receive, send)
            return
        await super().__call__(scope, receive, send)

    def _preflight(self, headers: Headers, path: str) -> Response:
        response = self.preflight_response(request_headers=headers)
        if response.status_code < 400:
            return response
        disallowed = bytes(response.body).decode().removeprefix("Disallowed CORS ")
        detail = f"CORS preflight refused, not allowed: {disallowed}. MAKUNOUCHI_CORS_ORIGINS lists the allowed origins"
        cors_headers = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        return problem(FORBIDDEN, detail, instance=path, headers=cors_headers)

"""What surrounds the application, BentoML's own routes included: limits, compression, paths, CORS. Knows no route."""

from __future__ import annotations

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from serving.guard import Guard
from serving.middleware.body_limit import BodyLimit
from serving.middleware.compression import CompressReads
from serving.middleware.pages import GuardedPages
from serving.middleware.paths import TrailingSlash
from serving.settings import Settings

_EXPOSED = ("ETag", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Cache", "X-Request-ID", "X-Process-Time")
_PREFLIGHT_S = 600


def edged(app: ASGIApp, settings: Settings, guard: Guard | None = None) -> ASGIApp:
    """`app` behind everything that a request passes before it is routed."""
    if guard is not None and guard.needs("docs"):
        app = GuardedPages(app, guard)
    app = BodyLimit(app, max_body_bytes=settings.max_body_bytes)
    app = CompressReads(app)
    app = TrailingSlash(app)
    if settings.cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST", "HEAD", "OPTIONS"),
            allow_headers=("Authorization", "Content-Type", "If-None-Match", "X-API-Key", "X-Request-ID"),
            # Credentials are never allowed: keys travel in headers, and a wildcard must not let cookies in.
            allow_credentials=False,
            expose_headers=_EXPOSED,
            max_age=_PREFLIGHT_S,
        )
    return app

"""The middleware around the application and BentoML's routes: docs access, body limit, compression, paths."""

from __future__ import annotations

from starlette.types import ASGIApp

from serving.access.guard import Guard
from serving.http.job_paths import is_job_upload
from serving.http.middleware.body_limit import BodyLimit
from serving.http.middleware.compression import CompressReads
from serving.http.middleware.docs_access import DocsAccess
from serving.http.middleware.public_url import PublicUrls
from serving.http.middleware.trailing_slash import TrailingSlash
from serving.settings.settings import Settings


def middleware_stack(app: ASGIApp, settings: Settings, guard: Guard | None = None) -> ASGIApp:
    """Return `app` inside the middleware."""
    if guard is not None and guard.required_role("docs"):
        app = DocsAccess(app, guard)
    app = BodyLimit(
        app,
        max_body_bytes=settings.max_body_bytes,
        limit_at=lambda path: settings.job_max_bytes if is_job_upload(path) else None,
    )
    app = CompressReads(app)
    return PublicUrls(TrailingSlash(app), trusted=settings.trusted_proxies)

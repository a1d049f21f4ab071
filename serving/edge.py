"""What surrounds the application, BentoML's own routes included: limits, compression, paths. Knows no route."""

from __future__ import annotations

from starlette.types import ASGIApp

from serving.guard import Guard
from serving.jobs.transfers import JOB_UPLOADS
from serving.middleware.body_limit import BodyLimit
from serving.middleware.compression import CompressReads
from serving.middleware.pages import GuardedPages
from serving.middleware.paths import TrailingSlash
from serving.settings import Settings


def edged(app: ASGIApp, settings: Settings, guard: Guard | None = None) -> ASGIApp:
    """`app` behind everything that a request passes before it is routed."""
    if guard is not None and guard.needs("docs"):
        app = GuardedPages(app, guard)
    app = BodyLimit(app, max_body_bytes=settings.max_body_bytes, at=dict.fromkeys(JOB_UPLOADS, settings.job_max_bytes))
    app = CompressReads(app)
    return TrailingSlash(app)

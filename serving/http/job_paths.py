"""The paths of jobs. Requests there may be larger, and may take longer, than others."""

from __future__ import annotations

import re
from typing import Final

from starlette.types import Scope

JOBS: Final = "/v1/jobs"
_UPLOAD = re.compile(r"/v1/[^/]+/jobs")


def is_job_upload(path: str) -> bool:
    """Return whether jobs of some kind are sent to this path."""
    return path.endswith("/jobs") and _UPLOAD.fullmatch(path) is not None


def is_job_transfer(scope: Scope) -> bool:
    """Return whether a request sends a job, or fetches the result of one."""
    if "/jobs" not in scope["path"]:
        return False
    path = scope["path"].rstrip("/")
    return is_job_upload(path) or (path.startswith(f"{JOBS}/") and path.endswith("/result"))

"""Which requests carry whole jobs or whole results, and so may take longer, and be larger, than others. Knows paths."""

from __future__ import annotations

from starlette.types import Scope

from serving.jobs.storage.record import KINDS

JOB_UPLOADS = frozenset(f"/v1/{kind}/jobs" for kind in KINDS)
JOBS = "/v1/jobs"


def is_job_transfer(scope: Scope) -> bool:
    """Whether a request sends a job, or fetches the result of one."""
    if "/jobs" not in scope["path"]:
        return False
    path = scope["path"].rstrip("/")
    return path in JOB_UPLOADS or (path.startswith(f"{JOBS}/") and path.endswith("/result"))

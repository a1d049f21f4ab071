"""The responses of the job operations: a job as JSON, its example, and when to ask again."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from serving.context import public_path
from serving.http.job_paths import JOBS
from serving.http.operation import JsonSchema
from serving.jobs.kind import JobKind
from serving.jobs.schemas import JobInfo, JobLinks, JobModel, JobProgress
from serving.jobs.storage.record import Job
from serving.schemas.fields import EXAMPLE_VERSION

EXAMPLE_ID = "5f0c1b9e4a7d4e2f8b3a6c9d0e1f2a3b"
_MAX_RETRY_AFTER_S = 30


def info_of(job: Job) -> JobInfo:
    """Return a job as its clients see it."""
    path = public_path(f"{JOBS}/{job.id}")
    return JobInfo(
        id=job.id,
        kind=job.kind,
        status=job.status,
        progress=JobProgress(done=job.done, total=job.total, failed=job.failed),
        options=dict(job.options),
        owner=job.owner,
        models=[JobModel(name=usage.name, version=usage.version, items=usage.items) for usage in job.models],
        error=job.fault or None,
        created=_time(job.created),
        started=None if job.started is None else _time(job.started),
        finished=None if job.finished is None else _time(job.finished),
        expires=None if job.expires is None else _time(job.expires),
        links=JobLinks(job=path, result=f"{path}/result", cancel=f"{path}/cancel" if job.is_active else None),
    )


def retry_after_s(job: Job) -> int:
    """Return when a client should ask again: when half of the remaining items should be done."""
    if job.started is None or not job.done:
        return 1
    per_item_s = max(0.0, datetime.now(UTC).timestamp() - job.started) / job.done
    return max(1, min(_MAX_RETRY_AFTER_S, round(per_item_s * (job.total - job.done) / 2)))


def example(kind: JobKind, **changes: Any) -> dict[str, Any]:  # Any: JSON
    """Return an example of a job, for the OpenAPI document."""
    path = f"{JOBS}/{EXAMPLE_ID}"
    model = kind.example().get("model")
    return {
        "id": EXAMPLE_ID,
        "kind": kind.name,
        "status": "running",
        "progress": {"done": 400, "total": 1000, "failed": 2},
        "options": {},
        "owner": "shop",
        "models": [{**(model or {"name": kind.name, "version": EXAMPLE_VERSION}), "items": 398}],
        "error": None,
        "created": "2026-01-02T03:04:05Z",
        "started": "2026-01-02T03:04:06Z",
        "finished": None,
        "expires": None,
        "links": {"job": path, "result": f"{path}/result", "cancel": f"{path}/cancel"},
    } | changes


def example_kind(kinds: Collection[JobKind]) -> JobKind:
    """Return the kind of the examples: the first with an example of a prediction."""
    return next((kind for kind in kinds if kind.example()), next(iter(kinds)))


def list_kinds(schemas: dict[str, JsonSchema], kinds: Collection[JobKind]) -> None:
    """Add the names of the kinds to the schema of a job."""
    schemas["JobInfo"]["properties"]["kind"]["enum"] = [kind.name for kind in kinds]


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)

"""The operations that take jobs, one for each kind. The body is written to disk; 202 means that the job is durable."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response

from models.errors import UnsupportedMedia
from serving.access.guard import owner_of
from serving.errors.exceptions import Malformed
from serving.errors.problem_types import (
    AT_CAPACITY,
    BODY_FAULTS,
    CALLER_LIMIT,
    DEADLINE,
    INTERNAL,
    JOBS_UNAVAILABLE,
    KEY_REUSED,
    TOO_MANY_JOBS,
)
from serving.header_fields import media_type
from serving.http.operation import Content, Operation
from serving.http.requests.idempotency import idempotency_parameter, read_idempotency_key
from serving.http.requests.json_body import JSON, answer
from serving.http.requests.query import parameters_of, read_query
from serving.jobs.decoding.media_types import is_accepted
from serving.jobs.kind import JobKind
from serving.jobs.schemas import FolderJob, JobInfo
from serving.jobs.service import JobService, Submission
from serving.routes.job_responses import example, info_of, list_kinds, retry_after_s

_PROBLEMS = (
    *BODY_FAULTS,
    KEY_REUSED,
    INTERNAL,
    TOO_MANY_JOBS,
    CALLER_LIMIT,
    AT_CAPACITY,
    JOBS_UNAVAILABLE,
    DEADLINE,
)
_MAX_FOLDER_BYTES = 65_536
_KEY = idempotency_parameter("Identifies the request: a request with the same key returns the same job.")


def operations(service: JobService) -> list[Operation]:
    """Return the operation that takes jobs of each kind."""
    return [_operation(service, kind) for kind in service.kinds.values()]


def _operation(service: JobService, kind: JobKind) -> Operation:
    async def submit(request: Request) -> Response:
        job = await service.submit(await _submission(service, kind, request), _body(request))
        response = answer(info_of(job))
        response.status_code = 202
        response.headers["Location"] = info_of(job).links.job
        if job.is_active:
            response.headers["Retry-After"] = str(retry_after_s(job))
        return response

    about = kind.submission
    folder = (Content(JSON, lambda: FolderJob, lambda: {"folder": {"folder": f"/srv/{kind.name}/2026-01"}}),)
    return Operation(
        id=about.id,
        method="POST",
        path=kind.path,
        model=kind.model,
        tag=about.tag,
        summary=about.summary,
        description=about.description,
        handler=submit,
        parameters=lambda: (*parameters_of(about.query), _KEY),
        body=about.body,
        more_bodies=(*about.more_bodies, *(folder if _takes_folders(service, kind) else ())),
        answer=Content(
            JSON,
            lambda: JobInfo,
            lambda: {"queued": example(kind, **_QUEUED)},
            refine=lambda schemas: list_kinds(schemas, service.kinds.values()),
        ),
        answer_description="The job, which is durable. `Location` is its path.",
        problems=_PROBLEMS,
        status=202,
        links={"get_job": {"operationId": "get_job", "parameters": {"job_id": "$response.body#/id"}}},
        answer_headers=("Location", "Retry-After"),
    )


_QUEUED: dict[str, Any] = {  # Any: JSON
    "status": "queued", "started": None, "models": [], "progress": {"done": 0, "total": 1000, "failed": 0},
}  # fmt: skip


def _takes_folders(service: JobService, kind: JobKind) -> bool:
    return kind.reads_folders and bool(service.roots)


async def _submission(service: JobService, kind: JobKind, request: Request) -> Submission:
    options = read_query(request, kind.submission.query).model_dump(exclude_none=True)
    key = read_idempotency_key(request)
    content_type = request.headers.get("content-type", "")
    received = media_type(content_type)
    source = None
    if received == JSON and _takes_folders(service, kind):
        source = FolderJob.model_validate(await _json(request)).folder
    elif not is_accepted(received, kind.media_types):
        types = ", ".join(kind.media_types)
        raise UnsupportedMedia(f"the Content-Type has to be one of {types}, not '{received[:100]}'")
    declared = request.headers.get("content-length", "")
    return Submission(
        kind,
        owner_of(request.scope),
        content_type=content_type,
        options=options,
        declared_bytes=0 if source else int(declared) if declared.isdecimal() else None,
        key=key,
        source=source,
    )


async def _json(request: Request) -> Any:  # Any: JSON
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_FOLDER_BYTES:
            raise Malformed(f"the JSON of a folder is longer than {_MAX_FOLDER_BYTES} bytes")
    try:
        return from_json(body)
    except ValueError as error:
        raise Malformed(f"Invalid JSON: {str(error)[:200]}") from error


async def _body(request: Request) -> AsyncIterator[bytes]:
    async for chunk in request.stream():
        yield chunk

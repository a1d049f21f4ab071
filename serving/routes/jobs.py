"""Jobs over HTTP: how they are, their results, their end."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import Any, get_args

import orjson
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from serving.access.guard import IDENTITY
from serving.access.roles import Identity
from serving.errors.exceptions import FieldFault, NotAcceptable
from serving.errors.problem_types import (
    DEADLINE,
    INTERNAL,
    JOB_GONE,
    JOB_NOT_DONE,
    JOBS_UNAVAILABLE,
    NOT_ACCEPTABLE,
    NOT_KNOWN,
    VALIDATION,
)
from serving.http.operation import Content, JsonSchema, Operation
from serving.http.requests.json_body import JSON, answer, resource
from serving.http.requests.query import Query, parameters_of, path_parameter, read_query
from serving.jobs.decoding.task import CSV, NDJSON, PARQUET
from serving.jobs.schemas import JobInfo, JobLinks, JobModel, JobPage, JobProgress, ResultFormat
from serving.jobs.service import JobService
from serving.jobs.storage.record import Job, JobKind, JobStatus
from serving.routes.job_paths import JOBS
from serving.schemas.fields import EXAMPLE_VERSION

EXAMPLE_ID = "5f0c1b9e4a7d4e2f8b3a6c9d0e1f2a3b"
_PATH = path_parameter("job_id", "Id of the job.", EXAMPLE_ID)
_TYPES: dict[ResultFormat, str] = {"ndjson": NDJSON, "csv": CSV, "parquet": PARQUET}
_LOOKING = (VALIDATION, INTERNAL, JOBS_UNAVAILABLE, DEADLINE)
# How long a client is told to wait before it looks again.
_MAX_WAIT_S = 30


class _Page(Query):
    kind: JobKind | None = Field(None, description="Only of this kind.")
    status: JobStatus | None = Field(None, description="Only those that are so.")
    page_size: int = Field(20, ge=1, le=100, description="Jobs on a page.")
    page_token: str | None = Field(
        None, min_length=1, max_length=200, description="`next_page_token` of the page before."
    )


class _Format(Query):
    format: ResultFormat | None = Field(None, description="In place of `Accept`; NDJSON when neither says.")


def operations(calls: JobService) -> list[Operation]:
    """Everything below /v1/jobs."""
    return [_list(calls), _get(calls), _result(calls), _cancel(calls), _delete(calls)]


def caller_of(request: Request) -> Identity | None:
    """Who calls, where the guard asks."""
    return request.scope.get(IDENTITY)


def owner_of(request: Request) -> str:
    """Whose a new job is: that of the key or token, or nobody's in particular."""
    caller = caller_of(request)
    return caller.name if caller is not None else ""


def _seen_by(request: Request) -> str | None:
    """Whose jobs the caller may see: None for everybody's."""
    caller = caller_of(request)
    return None if caller is not None and caller.may("admin") else owner_of(request)


def _list(calls: JobService) -> Operation:
    async def list_jobs(request: Request) -> Response:
        asked = read_query(request, _Page)
        before = _place(asked.page_token) if asked.page_token is not None else None
        # One more tells whether there is another page.
        found = await calls.page(
            owner=_seen_by(request), kind=asked.kind, status=asked.status, before=before, limit=asked.page_size + 1
        )
        shown = found[: asked.page_size]
        token = _token(shown[-1]) if len(found) > len(shown) else None
        return resource(request, JobPage(jobs=[info_of(job) for job in shown], next_page_token=token))

    return Operation(
        id="list_jobs",
        method="GET",
        path=JOBS,
        tag="jobs",
        access="read",
        summary="Your jobs",
        description="Newest first. Those of one key or token are seen by it alone, and by administrators.",
        handler=list_jobs,
        parameters=lambda: parameters_of(_Page, page_size=5),
        answer=Content(JSON, lambda: JobPage, lambda: {"jobs": {"jobs": [example()], "next_page_token": None}}),
        answer_description="One page of jobs.",
        problems=_LOOKING,
        is_conditional=True,
    )


def _get(calls: JobService) -> Operation:
    async def get_job(request: Request) -> Response:
        read_query(request, Query)
        job = await calls.find(str(request.path_params["job_id"]), owner=_seen_by(request))
        response = resource(request, info_of(job))
        if job.is_active:
            response.headers["Retry-After"] = str(wait_s(job))
        return response

    return Operation(
        id="get_job",
        method="GET",
        path=f"{JOBS}/{{job_id}}",
        tag="jobs",
        access="read",
        summary="How a job is",
        description="While it is not over `Retry-After` says when to look again.",
        handler=get_job,
        parameters=lambda: (_PATH,),
        answer=Content(JSON, lambda: JobInfo, lambda: {"running": example()}),
        answer_description="The job.",
        problems=(*_LOOKING, NOT_KNOWN),
        is_conditional=True,
        answer_headers=("Retry-After",),
    )


def _result(calls: JobService) -> Operation:
    async def get_job_result(request: Request) -> Response:
        asked = read_query(request, _Format)
        format_ = asked.format or _accepted(request.headers.get("accept", ""))
        result = await calls.result(str(request.path_params["job_id"]), format_, owner=_seen_by(request))
        headers = {
            "Content-Length": str(result.size_bytes),
            "Content-Disposition": f'attachment; filename="{request.path_params["job_id"]}.{format_}"',
            "Cache-Control": "no-store",
            "Vary": "Accept",
        }
        return StreamingResponse(result.pieces, 200, headers, _TYPES[format_])

    return Operation(
        id="get_job_result",
        method="GET",
        path=f"{JOBS}/{{job_id}}/result",
        tag="jobs",
        access="read",
        summary="The result of a job",
        description=(
            "One line for each item, in their order: its `index`, what names it, `status` `ok` with what the same call "
            "would have answered or `error` with a problem, and the `model` that answered. As CSV and Parquet the same "
            "in columns; lists are JSON there. A job that was cancelled, or failed, has what was answered until then."
        ),
        handler=get_job_result,
        parameters=lambda: (_PATH, *parameters_of(_Format, format="ndjson")),
        answer=Content(NDJSON, _lines, lambda: {"rows": "\n".join(orjson.dumps(line).decode() for line in LINES)}),
        more_answers=(Content(CSV, lambda: {"type": "string"}), Content(PARQUET, _file)),
        answer_description="One line for each item.",
        problems=(*_LOOKING, NOT_KNOWN, NOT_ACCEPTABLE, JOB_NOT_DONE, JOB_GONE),
    )


def _cancel(calls: JobService) -> Operation:
    async def cancel_job(request: Request) -> Response:
        job = await calls.cancel(str(request.path_params["job_id"]), owner=_seen_by(request))
        return answer(info_of(job))

    return Operation(
        id="cancel_job",
        method="POST",
        path=f"{JOBS}/{{job_id}}/cancel",
        tag="jobs",
        summary="End a job",
        description="What was answered until then can be fetched. A job that is over stays as it is.",
        handler=cancel_job,
        parameters=lambda: (_PATH,),
        answer=Content(JSON, lambda: JobInfo, lambda: {"cancelled": example(status="cancelled")}),
        answer_description="The job as it is now.",
        problems=(INTERNAL, JOBS_UNAVAILABLE, DEADLINE, NOT_KNOWN),
    )


def _delete(calls: JobService) -> Operation:
    async def delete_job(request: Request) -> Response:
        await calls.delete(str(request.path_params["job_id"]), owner=_seen_by(request))
        return Response(status_code=204)

    return Operation(
        id="delete_job",
        method="DELETE",
        path=f"{JOBS}/{{job_id}}",
        tag="jobs",
        summary="Delete a job",
        description="With its result. One that is not over is ended first.",
        handler=delete_job,
        parameters=lambda: (_PATH,),
        answer=None,
        answer_description="It is gone.",
        problems=(INTERNAL, JOBS_UNAVAILABLE, DEADLINE, NOT_KNOWN),
        status=204,
    )


def info_of(job: Job) -> JobInfo:
    """A job as clients are told."""
    here = f"{JOBS}/{job.id}"
    return JobInfo(
        id=job.id,
        kind=job.kind,
        status=job.status,
        progress=JobProgress(done=job.done, total=job.total, failed=job.failed),
        options=dict(job.options),
        owner=job.owner,
        models=[JobModel(name=each.name, version=each.version, items=each.items) for each in job.models],
        error=job.fault or None,
        created=_time(job.created),
        started=None if job.started is None else _time(job.started),
        finished=None if job.finished is None else _time(job.finished),
        expires=None if job.expires is None else _time(job.expires),
        links=JobLinks(job=here, result=f"{here}/result", cancel=f"{here}/cancel" if job.is_active else None),
    )


def wait_s(job: Job) -> int:
    """When it is worth looking again: when what is left should be half done."""
    if job.started is None or not job.done:
        return 1
    per_item_s = max(0.0, datetime.now(UTC).timestamp() - job.started) / job.done
    return max(1, min(_MAX_WAIT_S, round(per_item_s * (job.total - job.done) / 2)))


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _token(job: Job) -> str:
    return base64.urlsafe_b64encode(f"{job.created!r}:{job.id}".encode()).decode()


def _place(token: str) -> tuple[float, str]:
    try:
        created, _, job_id = base64.urlsafe_b64decode(token.encode()).decode().partition(":")
        return float(created), job_id
    except (binascii.Error, ValueError) as error:
        message = "not a token of a page of this list; take `next_page_token` as it is"
        raise FieldFault(message, location=("query", "page_token"), value_type="string") from error


def _accepted(header: str) -> ResultFormat:
    """The first format that a client accepts. Raises NotAcceptable."""
    wanted = [part.partition(";") for part in header.lower().split(",")] if header.strip() else []
    names = [name.strip() for name, _, rest in wanted if rest.replace(" ", "") not in ("q=0", "q=0.0")]
    for format_ in get_args(ResultFormat):
        if _TYPES[format_] in names:
            return format_  # type: ignore[no-any-return]  # one of its literals
    if not wanted or {"*/*", "application/*", JSON} & set(names):
        return "ndjson"
    if "text/*" in names:
        return "csv"
    raise NotAcceptable(f"a result is {', '.join(_TYPES.values())}")


def example(**changed: Any) -> dict[str, Any]:
    """A job as it may be."""
    here = f"{JOBS}/{EXAMPLE_ID}"
    return {
        "id": EXAMPLE_ID,
        "kind": "tabular",
        "status": "running",
        "progress": {"done": 400, "total": 1000, "failed": 2},
        "options": {},
        "owner": "shop",
        "models": [{"name": "tabular", "version": EXAMPLE_VERSION, "items": 398}],
        "error": None,
        "created": "2026-01-02T03:04:05Z",
        "started": "2026-01-02T03:04:06Z",
        "finished": None,
        "expires": None,
        "links": {"job": here, "result": f"{here}/result", "cancel": f"{here}/cancel"},
    } | changed


_MODEL = {"name": "tabular", "version": EXAMPLE_VERSION}
_PROBLEM = {"type": "/problems/validation", "title": "The request is not valid", "status": 422}
LINES = (
    {"index": 0, "status": "ok", "prediction": "good", "probabilities": {"good": 0.8, "bad": 0.2}, "model": _MODEL},
    {"index": 1, "status": "error", "error": {**_PROBLEM, "detail": "age: Input should be a valid number"},
     "model": None},
)  # fmt: skip


def _lines() -> JsonSchema:
    # No type: to some readers of the document this is the whole text, and to others one line, an object.
    return {"description": "A JSON object in each line."}


def _file() -> JsonSchema:
    return {"type": "string", "format": "binary"}

"""The operations on jobs: list, get, fetch the result, cancel, delete."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import orjson
from pydantic import Field, create_model
from starlette.requests import Request
from starlette.responses import Response

from serving.access.guard import caller_of, owner_of
from serving.errors.exceptions import FieldFault, NotAcceptable
from serving.errors.problem_types import (
    DEADLINE,
    INTERNAL,
    JOB_GONE,
    JOB_NOT_DONE,
    JOBS_UNAVAILABLE,
    NOT_ACCEPTABLE,
    NOT_KNOWN,
    TOO_MANY_JOBS,
    VALIDATION,
)
from serving.header_fields import weights
from serving.http.job_paths import JOBS
from serving.http.operation import Content, JsonSchema, Operation
from serving.http.requests.json_body import JSON, answer, resource
from serving.http.requests.query import Query, parameters_of, path_parameter, read_query
from serving.http.streaming import ReleasingResponse
from serving.jobs.decoding.task import CSV, NDJSON, PARQUET
from serving.jobs.kind import JobKind
from serving.jobs.schemas import JobInfo, JobPage, ResultFormat
from serving.jobs.service import JobService
from serving.jobs.storage.record import Job, JobStatus
from serving.routes.job_responses import EXAMPLE_ID, example, example_kind, info_of, list_kinds, retry_after_s

_PATH = path_parameter("job_id", "Id of the job.", EXAMPLE_ID)
_TYPES: dict[ResultFormat, str] = {"ndjson": NDJSON, "csv": CSV, "parquet": PARQUET}
# Generators of clients return the bytes of such a response.
_FILE: JsonSchema = {"type": "string", "format": "binary"}
_READ_PROBLEMS = (VALIDATION, INTERNAL, JOBS_UNAVAILABLE, DEADLINE)


class _PageQuery(Query):
    kind: str | None = Field(None, description="Only jobs of this kind.")
    status: JobStatus | None = Field(None, description="Only jobs with this status.")
    page_size: int = Field(20, ge=1, le=100, description="Number of jobs on a page.")
    page_token: str | None = Field(
        None, min_length=1, max_length=200, description="`next_page_token` of the previous page."
    )


def _page_query(kinds: tuple[str, ...]) -> type[_PageQuery]:
    """Return the query string of the list, limited to the kinds of this service."""
    field = _PageQuery.model_fields["kind"]
    # Literal takes values at run time too; type checkers know only those in the source.
    names = Literal[kinds]  # type: ignore[valid-type]
    return create_model("_PageQuery", __base__=_PageQuery, kind=(names | None, field))


class _FormatQuery(Query):
    format: ResultFormat | None = Field(None, description="Overrides `Accept`. The default is NDJSON.")
    formulas: Literal["escaped", "kept"] = Field(
        "escaped",
        description="Text in CSV that begins like a formula (`=`, `+`, `-`, `@`) or with an apostrophe. `escaped`: an "
        "apostrophe precedes it, so that spreadsheets do not run it. `kept`: it is exact, for programs.",
    )


def operations(service: JobService) -> list[Operation]:
    """Return the operations at /v1/jobs; none for a service without kinds of jobs."""
    if not service.kinds:
        return []
    return [_list(service), _get(service), _result(service), _cancel(service), _delete(service)]


def _visible_owner(request: Request) -> str | None:
    """Return the owner whose jobs the caller may see; None for all owners."""
    caller = caller_of(request.scope)
    return None if caller is not None and caller.may("admin") else owner_of(request.scope)


def _list(service: JobService) -> Operation:
    kinds = service.kinds.values()
    page_query = _page_query(tuple(service.kinds))

    async def list_jobs(request: Request) -> Response:
        query = read_query(request, page_query)
        before = _position_of(query.page_token) if query.page_token is not None else None
        # One job more than the page shows whether there is another page.
        jobs = await service.page(
            owner=_visible_owner(request),
            kind=query.kind,
            status=query.status,
            before=before,
            limit=query.page_size + 1,
        )
        page = jobs[: query.page_size]
        token = _token_of(page[-1]) if len(jobs) > len(page) else None
        return resource(request, JobPage(jobs=[info_of(job) for job in page], next_page_token=token))

    return Operation(
        id="list_jobs",
        method="GET",
        path=JOBS,
        tag="jobs",
        access="read",
        summary="List your jobs",
        description="Newest first. The jobs of a key or token are visible to it and to administrators.",
        handler=list_jobs,
        parameters=lambda: parameters_of(page_query, page_size=5),
        answer=Content(
            JSON,
            lambda: JobPage,
            lambda: {"jobs": {"jobs": [example(example_kind(kinds))], "next_page_token": None}},
            refine=lambda schemas: list_kinds(schemas, kinds),
        ),
        answer_description="One page of jobs.",
        problems=_READ_PROBLEMS,
        is_conditional=True,
        is_private=True,
    )


def _get(service: JobService) -> Operation:
    async def get_job(request: Request) -> Response:
        read_query(request, Query)
        job = await service.find(str(request.path_params["job_id"]), owner=_visible_owner(request))
        response = resource(request, info_of(job))
        if job.is_active:
            response.headers["Retry-After"] = str(retry_after_s(job))
        return response

    return Operation(
        id="get_job",
        method="GET",
        path=f"{JOBS}/{{job_id}}",
        tag="jobs",
        access="read",
        summary="Get a job",
        description="While the job is not over, `Retry-After` is the time until the next request.",
        handler=get_job,
        parameters=lambda: (_PATH,),
        answer=Content(JSON, lambda: JobInfo, lambda: {"running": example(example_kind(service.kinds.values()))}),
        answer_description="The job.",
        problems=(*_READ_PROBLEMS, NOT_KNOWN),
        is_conditional=True,
        is_private=True,
        answer_headers=("Retry-After",),
    )


def _result(service: JobService) -> Operation:
    async def get_job_result(request: Request) -> Response:
        query = read_query(request, _FormatQuery)
        format_ = query.format or _accepted_format(request.headers.getlist("accept"))
        result = await service.result(
            str(request.path_params["job_id"]),
            format_,
            owner=_visible_owner(request),
            has_formulas=query.formulas == "kept",
        )
        headers = {
            "Content-Length": str(result.size_bytes),
            "Content-Disposition": f'attachment; filename="{request.path_params["job_id"]}.{format_}"',
            "Cache-Control": "no-store",
            "Vary": "Accept",
            "Accept-Ranges": "none",
        }
        return ReleasingResponse(result.chunks, headers=headers, media_type=_TYPES[format_], on_end=result.close)

    return Operation(
        id="get_job_result",
        method="GET",
        path=f"{JOBS}/{{job_id}}/result",
        tag="jobs",
        access="read",
        summary="Get the result of a job",
        description=(
            "One line for each item in order: its `index`, its id or name, `status` `ok` with the response of the "
            "ordinary call or `error` with a problem, and the `model` that answered. CSV and Parquet have the same "
            "values in columns; lists are JSON text there. In CSV, an apostrophe precedes text that spreadsheets would "
            "run as a formula; see `formulas`. The result of a job that was cancelled or failed is partial."
        ),
        handler=get_job_result,
        parameters=lambda: (_PATH, *parameters_of(_FormatQuery, format="ndjson")),
        answer=Content(
            NDJSON, lambda: {**_FILE, "description": "A JSON object in each line."}, lambda: _example_results(service)
        ),
        more_answers=(Content(CSV, lambda: {"type": "string"}), Content(PARQUET, lambda: _FILE)),
        answer_description="One line for each item.",
        problems=(*_READ_PROBLEMS, NOT_KNOWN, NOT_ACCEPTABLE, JOB_NOT_DONE, JOB_GONE, TOO_MANY_JOBS),
    )


def _cancel(service: JobService) -> Operation:
    async def cancel_job(request: Request) -> Response:
        job = await service.cancel(str(request.path_params["job_id"]), owner=_visible_owner(request))
        return answer(info_of(job))

    return Operation(
        id="cancel_job",
        method="POST",
        path=f"{JOBS}/{{job_id}}/cancel",
        tag="jobs",
        summary="Cancel a job",
        description="The partial result can be fetched. A job that is over does not change.",
        handler=cancel_job,
        parameters=lambda: (_PATH,),
        answer=Content(
            JSON,
            lambda: JobInfo,
            lambda: {"cancelled": example(example_kind(service.kinds.values()), status="cancelled")},
        ),
        answer_description="The job as it is now.",
        problems=(INTERNAL, JOBS_UNAVAILABLE, DEADLINE, NOT_KNOWN),
    )


def _delete(service: JobService) -> Operation:
    async def delete_job(request: Request) -> Response:
        await service.delete(str(request.path_params["job_id"]), owner=_visible_owner(request))
        return Response(status_code=204)

    return Operation(
        id="delete_job",
        method="DELETE",
        path=f"{JOBS}/{{job_id}}",
        tag="jobs",
        summary="Delete a job",
        description="Deletes the job and its result. A job that is not over is cancelled first.",
        handler=delete_job,
        parameters=lambda: (_PATH,),
        answer=None,
        answer_description="The job is deleted.",
        problems=(INTERNAL, JOBS_UNAVAILABLE, DEADLINE, NOT_KNOWN),
        status=204,
    )


def _token_of(job: Job) -> str:
    return base64.urlsafe_b64encode(f"{job.created!r}:{job.id}".encode()).decode()


def _position_of(token: str) -> tuple[float, str]:
    try:
        created, _, job_id = base64.urlsafe_b64decode(token.encode()).decode().partition(":")
        return float(created), job_id
    except (binascii.Error, ValueError) as error:
        message = "not a page token of this list; use the value of `next_page_token`"
        raise FieldFault(message, location=("query", "page_token"), value_type="string") from error


def _accepted_format(accept: Sequence[str]) -> ResultFormat:
    """Return the format that a client prefers (RFC 9110, 12.5.1). Raises NotAcceptable."""
    given = weights(accept)
    if not given:
        return "ndjson"
    if JSON in given:
        given.setdefault(NDJSON, given[JSON])
    accepted = {format_: _weight(media_type, given) for format_, media_type in _TYPES.items()}
    best = max(accepted, key=accepted.__getitem__)  # of equal weights the first
    if not accepted[best]:
        raise NotAcceptable(f"a result is available as {', '.join(_TYPES.values())}")
    return best


def _weight(media_type: str, given: Mapping[str, float]) -> float:
    """Return the weight of the most specific range that contains `media_type`."""
    ranges = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
    return next((given[each] for each in ranges if each in given), 0.0)


def _example_results(service: JobService) -> dict[str, str]:
    """Return the example lines of each kind, by the name of the kind."""
    return {
        kind.name: "\n".join(orjson.dumps(line).decode() for line in _example_lines(kind, prediction))
        for kind in service.kinds.values()
        if (prediction := kind.example())
    }


def _example_lines(kind: JobKind, prediction: Mapping[str, Any]) -> list[dict[str, Any]]:  # Any: JSON
    """Return a line of the result for an item with a prediction, and one for an item with a fault."""
    column = next((column.name for column in kind.columns()), "item")
    error = {
        "type": VALIDATION.type,
        "title": VALIDATION.title,
        "status": VALIDATION.status,
        "detail": f"{column}: Field required",
    }
    return [
        {"index": 0, "status": "ok", **prediction},
        {"index": 1, "status": "error", "error": error, "model": None},
    ]

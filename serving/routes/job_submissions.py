"""New jobs over HTTP: a body of whatever size, straight to the disk; 202 once the job is durable."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import orjson
from pydantic import Field
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response

from models.card import Card
from models.errors import UnsupportedMedia
from serving.errors.exceptions import Malformed
from serving.errors.problem_types import (
    BODY_FAULTS,
    DEADLINE,
    INTERNAL,
    JOBS_UNAVAILABLE,
    KEY_REUSED,
    OVERLOADED,
    TOO_MANY_JOBS,
)
from serving.http.operation import Content, JsonSchema, Operation
from serving.http.requests.idempotency import idempotency_parameter, read_idempotency_key
from serving.http.requests.json_body import JSON, answer, check_content_type
from serving.http.requests.query import Flag, Query, parameters_of, read_query
from serving.jobs.decoding.decode import media_type
from serving.jobs.decoding.task import ARCHIVES, CSV, MULTIPART, NDJSON, PARQUET, READS
from serving.jobs.schemas import FolderJob, JobInfo, RecommendJob
from serving.jobs.service import JobService, Submission
from serving.jobs.storage.record import JobKind
from serving.kinds.handlers import Handlers
from serving.kinds.image.upload import ClassifyQuery
from serving.kinds.recommender.examples import item, user
from serving.kinds.recommender.handler import RecommenderHandler
from serving.kinds.recommender.schemas import MAX_ITEMS, UnknownUser, name_models
from serving.kinds.tabular.handler import TabularHandler
from serving.routes.job_paths import JOBS
from serving.routes.jobs import example, info_of, owner_of, wait_s

_PROBLEMS = (*BODY_FAULTS, KEY_REUSED, INTERNAL, TOO_MANY_JOBS, OVERLOADED, JOBS_UNAVAILABLE, DEADLINE)
_MAX_FOLDER_BYTES = 65_536
_KEY = idempotency_parameter("Names the request: sent again, it is the same job.")


class RowsQuery(Query):
    """What is asked of a table beside its rows."""

    id_column: str | None = Field(
        None, min_length=1, max_length=256, description="A column that names the rows; it is in the result as `id`."
    )


class UsersQuery(Query):
    """What is asked for users of a file. In JSON these are fields, which count before these."""

    n: int | None = Field(None, ge=1, le=MAX_ITEMS, description="How many items to recommend at most.")
    filter_seen: Flag | None = Field(None, description="Leave out the items that the user has interacted with already.")
    unknown_user: UnknownUser | None = Field(None, description="What a user gets who is not in the training data.")


def operations(calls: JobService, handlers: Handlers) -> list[Operation]:
    """`submit_image_job`, `submit_tabular_job` and `submit_recommendation_job`."""
    table = cast("TabularHandler", handlers.by_alias["tabular"])
    recommendations = cast("RecommenderHandler", handlers.by_alias["recommender"])
    return [_images(calls), _tabular(calls, table), _recommendations(calls, recommendations)]


def _images(calls: JobService) -> Operation:
    form: JsonSchema = {
        "title": "ImageJobForm",
        "type": "object",
        "properties": {
            "images": {"type": "array", "items": _file(), "minItems": 1, "description": "Image files."},
            "archive": {**_file(), "description": "A zip or tar archive of image files."},
        },
        "additionalProperties": False,
        "minProperties": 1,
    }
    folder = (Content(JSON, lambda: FolderJob, lambda: {"folder": {"folder": "/srv/images/2026-01"}}),)
    return _operation(
        calls,
        "images",
        ClassifyQuery,
        id="submit_image_job",
        tag="images",
        summary="Classify a folder of images",
        description=(
            "A zip or tar archive, a form of many files, or the name of a folder of the service's machine where a "
            "setting allows that one. Every file is an item, by its name; one that is no image fails alone."
        ),
        body=Content(MULTIPART, lambda: form),
        more_bodies=(*(Content(each, _file) for each in ARCHIVES), *(folder if calls.roots else ())),
    )


def _tabular(calls: JobService, table: TabularHandler) -> Operation:
    form: JsonSchema = {
        "title": "TableJobForm",
        "type": "object",
        "properties": {"file": {**_file(), "description": "A table as CSV, NDJSON or Parquet."}},
        "required": ["file"],
        "additionalProperties": False,
    }

    def rows() -> dict[str, Any]:
        example_row = table.model.current.schema.example_row
        cells = ("" if value is None else f'"{value}"' for value in example_row.values())
        return {"rows": ",".join(f'"{name}"' for name in example_row) + "\n" + ",".join(cells) + "\n"}

    return _operation(
        calls,
        "tabular",
        RowsQuery,
        id="submit_tabular_job",
        tag="tabular",
        summary="Predict a file of rows",
        description=(
            "CSV (RFC 4180, UTF-8, a header; an empty cell is null where the column may be null), NDJSON, or Parquet. "
            "Columns are those of the model, in any order; others are refused, but for an `id_column`. A row that does "
            "not fit fails alone."
        ),
        body=Content(CSV, lambda: _text("A header, then rows."), rows),
        more_bodies=(
            Content(PARQUET, _file),
            Content(
                NDJSON,
                lambda: _text("A row in each line."),
                lambda: {"rows": _lines(table.model.current.schema.example_row)},
            ),
            Content(MULTIPART, lambda: form),
        ),
    )


def _recommendations(calls: JobService, recommendations: RecommenderHandler) -> Operation:
    def card() -> Card:
        return recommendations.model.card

    return _operation(
        calls,
        "recommendations",
        UsersQuery,
        id="submit_recommendation_job",
        tag="recommendations",
        summary="Recommend items to a list of users",
        description=(
            "JSON as in `recommend_bulk`, of any number of users; CSV with the one column `user_id`; or NDJSON, an id "
            "or an object with `user_id`, `history` and `user_features` in each line. One that cannot be answered "
            "fails alone."
        ),
        body=Content(
            JSON,
            lambda: RecommendJob,
            lambda: {"users": {"user_ids": [user(card()), "nobody"], "n": 5}},
            refine=lambda schemas: name_models(schemas, card()),
        ),
        more_bodies=(
            Content(CSV, lambda: _text("The line `user_id`, then an id in each."), lambda: {"users": "user_id\n196\n"}),
            Content(
                NDJSON,
                lambda: _text("An id, or an object, in each line."),
                lambda: {"users": _lines(user(card()), {"user_id": "someone new", "history": [item(card())]})},
            ),
        ),
    )


def _operation(calls: JobService, kind: JobKind, query: type[Query], **told: Any) -> Operation:  # Any: of Operation
    async def submit(request: Request) -> Response:
        job = await calls.submit(await _asked(calls, kind, query, request), _body(request))
        response = answer(info_of(job))
        response.status_code = 202
        response.headers["Location"] = f"{JOBS}/{job.id}"
        if job.is_active:
            response.headers["Retry-After"] = str(wait_s(job))
        return response

    link = {"operationId": "get_job", "parameters": {"job_id": "$response.body#/id"}}
    return Operation(
        method="POST",
        path=f"/v1/{kind}/jobs",
        handler=submit,
        parameters=lambda: (*parameters_of(query), _KEY),
        answer=Content(JSON, lambda: JobInfo, lambda: {"queued": example(kind=kind, **_NEW)}),
        answer_description="The job, durable. `Location` is where it is told of.",
        problems=_PROBLEMS,
        status=202,
        links={"get_job": link},
        answer_headers=("Location", "Retry-After"),
        **told,
    )


_NEW: dict[str, Any] = {
    "status": "queued", "started": None, "models": [], "progress": {"done": 0, "total": 1000, "failed": 0},
}  # fmt: skip


async def _asked(calls: JobService, kind: JobKind, query: type[Query], request: Request) -> Submission:
    options = read_query(request, query).model_dump(exclude_none=True)
    key = read_idempotency_key(request)
    content_type = request.headers.get("content-type", "")
    given = media_type(content_type)
    source = None
    if kind == "images" and given == JSON and calls.roots:
        source = FolderJob.model_validate(await _json(request)).folder
    elif given not in READS[kind]:
        said = f"not '{given[:100]}'" if given else "and there is none"
        raise UnsupportedMedia(f"the Content-Type has to be one of {', '.join(READS[kind])}, {said}")
    check_content_type(request, given)
    declared = request.headers.get("content-length", "")
    return Submission(
        kind,
        owner_of(request),
        content_type=content_type,
        options=options,
        declared_bytes=int(declared) if declared.isdecimal() else 0,
        key=key,
        source=source,
    )


async def _json(request: Request) -> Any:  # Any: JSON
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _MAX_FOLDER_BYTES:
            raise Malformed("the JSON of a folder is short")
    try:
        return from_json(body)
    except ValueError as error:
        raise Malformed(f"Invalid JSON: {str(error)[:200]}") from error


async def _body(request: Request) -> AsyncIterator[bytes]:
    async for piece in request.stream():
        yield piece


def _file() -> JsonSchema:
    return {"type": "string", "format": "binary"}


def _lines(*values: object) -> str:
    return "".join(orjson.dumps(value).decode() + "\n" for value in values)


def _text(description: str) -> JsonSchema:
    return {"type": "string", "format": "binary", "description": description}

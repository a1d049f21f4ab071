"""The operation that takes a table as a job: its query string, and the forms of its body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field

from serving.http.operation import Content, JsonSchema
from serving.http.requests.form_reader import MULTIPART
from serving.http.requests.query import Query
from serving.jobs.decoding.table_uploads import FILE_PART
from serving.jobs.decoding.task import CSV, NDJSON, PARQUET
from serving.jobs.kind import JobSubmission

_FILE: JsonSchema = {"type": "string", "format": "binary"}


class TableQuery(Query):
    """The options of a job whose items are rows of a table."""

    id_column: str | None = Field(
        None,
        min_length=1,
        max_length=256,
        description="A column with the ids of the rows. The result contains them as `id`.",
    )
    extra: Literal["ignore", "refuse"] = Field(
        "ignore", description="Whether columns that the model does not have are left out, or the table is refused."
    )


def table_submission(
    *,
    id: str,  # noqa: A002  (the operation's id)
    tag: str,
    summary: str,
    description: str,
    form_title: str,
    csv: tuple[str, Callable[[], Any]],  # Any: an example
) -> JobSubmission:
    """Return an operation that takes CSV, Parquet, NDJSON, or a form with one of them.

    `csv` is the description of the body, and an example.
    """
    form: JsonSchema = {
        "title": form_title,
        "type": "object",
        "properties": {FILE_PART: {**_FILE, "description": "A table as CSV, NDJSON or Parquet."}},
        "required": [FILE_PART],
        "additionalProperties": False,
    }
    return JobSubmission(
        id=id,
        tag=tag,
        summary=summary,
        description=description,
        query=TableQuery,
        # First, because generators of clients take the first.
        body=Content(MULTIPART, lambda: form),
        more_bodies=(
            Content(CSV, lambda: {**_FILE, "description": csv[0]}, lambda: {"rows": csv[1]()}),
            Content(PARQUET, lambda: _FILE),
        ),
        more_types=(NDJSON,),
    )

"""Read the uploads of recommendation jobs, and export their results. Child processes import this module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import orjson
from pydantic import FailFast, Field, ValidationError

from models.card import Column
from models.errors import UnsupportedMedia
from serving.errors.exceptions import FieldFault, Malformed
from serving.errors.faults import faults_of
from serving.header_fields import media_type
from serving.jobs.decoding.decode import ItemStream, check_charset
from serving.jobs.decoding.media_types import start_of, table_type
from serving.jobs.decoding.tables import BadLine, csv_rows, json_lines
from serving.jobs.decoding.task import CSV, JSON, NDJSON, DecodeTask
from serving.jobs.storage.item_file import JobItem
from serving.kinds.recommender.schemas import PerUser, RecommendOptions
from serving.schemas.fields import UserId

USER_ID: Final = "user_id"
COLUMNS: Final = (Column(USER_ID, "text"),)
_MAX_SHOWN_CHARACTERS = 256


class RecommendJob(RecommendOptions):
    """A list of users, and the options of their recommendations."""

    user_ids: Annotated[list[UserId], FailFast(), Field(min_length=1, description="Ids of the users.")]


class UserLine(PerUser):
    """One user of a file, with a history and features."""

    user_id: UserId


def decode_users(task: DecodeTask) -> ItemStream:
    """Return the users of a JSON body, of a CSV file with the column `user_id`, or of NDJSON. Raises InputError."""
    check_charset(task.content_type)
    if _is_json(task):
        return _json_users(task)
    match table_type(task.upload, task.content_type):
        case media if media == CSV:
            return ItemStream(_csv_users(task), empty_detail="no user")
        case media if media == NDJSON:
            return ItemStream(_ndjson_users(task), empty_detail="no user")
        case _:
            raise UnsupportedMedia("users are read from JSON, CSV and NDJSON, not from Parquet")


def _is_json(task: DecodeTask) -> bool:
    """Return whether the body is one JSON object, by its type, or where that says nothing, by its content."""
    stated = media_type(task.content_type)
    return stated == JSON or (stated not in (CSV, NDJSON) and b'"user_ids"' in start_of(task.upload))


def export_columns(name: str, value: Any) -> Mapping[str, Any] | None:  # Any: JSON
    """Return the ids of the recommended items in one column, and the items as JSON text."""
    if name != "items":
        return None
    return {"item_ids": " ".join(item["item_id"] for item in value), "items": orjson.dumps(value).decode()}


def _json_users(task: DecodeTask) -> ItemStream:
    try:
        job = RecommendJob.model_validate_json(task.upload.read_bytes())
    except ValidationError as error:
        if error.errors(include_url=False, include_context=False, include_input=False)[0]["type"] == "json_invalid":
            raise Malformed("the body is not JSON in UTF-8") from error
        fault = faults_of(error, within=("body",))[0]
        field = ".".join(str(part) for part in fault.location)
        raise FieldFault(
            f"{field}: {fault.message}", location=tuple(fault.location), value_type=fault.value_type
        ) from error
    options = job.model_dump(mode="json", exclude_unset=True, exclude={"user_ids"})
    return ItemStream([JobItem({USER_ID: user_id}) for user_id in job.user_ids], options=options)


def _csv_users(task: DecodeTask) -> Iterator[JobItem]:
    for item in csv_rows(task.upload, task):
        yield item if "fault" in item.head else _user_item(item.head["row"])


def _ndjson_users(task: DecodeTask) -> Iterator[JobItem]:
    for value in json_lines(task.upload):
        if isinstance(value, BadLine):
            yield JobItem({"fault": value.fault})
        else:
            yield _user_item(value if isinstance(value, dict) else {USER_ID: value})


def _user_item(value: dict[str, Any]) -> JobItem:  # Any: JSON
    try:
        return JobItem(UserLine.model_validate(value).model_dump(mode="json", exclude_defaults=True))
    except ValidationError as error:
        fault = faults_of(error)[0]
        field = ".".join(str(part) for part in fault.location)
        user_id = value.get(USER_ID)
        is_shown = isinstance(user_id, str) and len(user_id) <= _MAX_SHOWN_CHARACTERS
        return JobItem({**({USER_ID: user_id} if is_shown else {}), "fault": f"{field}: {fault.message}"})

"""Users out of JSON, lines of JSON, and CSV with the one column `user_id`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from serving.errors.exceptions import FieldFault, Malformed
from serving.errors.faults import faults_of
from serving.jobs.decoding.tables import BadLine, csv_rows, json_lines
from serving.jobs.decoding.task import ColumnSpec, DecodeTask
from serving.jobs.schemas import RecommendJob, UserLine
from serving.jobs.storage.item_file import Item

USER_ID = "user_id"
_COLUMN = ColumnSpec(USER_ID, "text", is_required=True, is_nullable=False)


def json_users(path: Path) -> tuple[list[Item], dict[str, Any]]:  # Any: JSON
    """The users of a JSON body, and its options. Raises Malformed, FieldFault."""
    try:
        asked = RecommendJob.model_validate_json(path.read_bytes())
    except ValidationError as error:
        if error.errors(include_url=False, include_context=False, include_input=False)[0]["type"] == "json_invalid":
            raise Malformed("the body is no JSON in UTF-8") from error
        first = faults_of(error, within=("body",))[0]
        where = ".".join(str(part) for part in first.location)
        raise FieldFault(
            f"{where}: {first.message}", location=tuple(first.location), value_type=first.value_type
        ) from error
    options = asked.model_dump(mode="json", exclude_unset=True, exclude={"user_ids"})
    return [Item({USER_ID: user_id}) for user_id in asked.user_ids], options


def csv_users(path: Path, order: DecodeTask) -> Iterator[Item]:
    """The users of a CSV file. Raises InvalidInput for another header."""
    table = DecodeTask(order.kind, order.content_type, order.folder, order.limits, columns=(_COLUMN,))
    for item in csv_rows(path, table):
        yield item if "fault" in item.head else _checked(item.head["row"])


def ndjson_users(path: Path) -> Iterator[Item]:
    """The users of a file with an id, or an object, in each line."""
    for value in json_lines(path):
        if isinstance(value, BadLine):
            yield Item({"fault": value.fault})
        else:
            yield _checked(value if isinstance(value, dict) else {USER_ID: value})


def _checked(value: dict[str, Any]) -> Item:  # Any: JSON
    try:
        return Item(UserLine.model_validate(value).model_dump(mode="json", exclude_defaults=True))
    except ValidationError as error:
        first = faults_of(error)[0]
        where = ".".join(str(part) for part in first.location)
        shown = value.get(USER_ID)
        named = {USER_ID: shown} if isinstance(shown, str) and len(shown) <= 256 else {}
        return Item({**named, "fault": f"{where}: {first.message}"})

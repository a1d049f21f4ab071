"""Jobs of a user's own class: predict every row of a table.

A row is the instance where that is an object; otherwise its column `instance` is. NDJSON may have nested values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import orjson

from models.card import Card, Column
from models.python.model import INSTANCE
from serving.jobs.kind import JobKind, JobSubmission
from serving.jobs.outcomes import Options, Outcome, process_each
from serving.jobs.storage.item_file import JobItem
from serving.jobs.table_submission import table_submission
from serving.kinds.python.routes import TAG, example_line

if TYPE_CHECKING:
    from serving.kinds.python.handler import PythonHandler

# Small batches: a request that arrives during one waits for it.
_BATCH_ITEMS: Final = 64


def job_kind(handler: PythonHandler) -> JobKind:
    """Return the kind of job that predicts instances."""
    return JobKind(
        name=TAG,
        processor=InstanceProcessor(handler),
        decoder="serving.jobs.decoding.table_uploads:decode_table",
        submission=_submission(handler),
        columns=lambda: tuple(_as_cells(column) for column in handler.model.card.inputs),
        item_labels=("id",),
        example=lambda: example_line(handler),
    )


class InstanceProcessor:
    """Predicts the instances of a job. One that does not fit the schema fails alone."""

    def __init__(self, handler: PythonHandler) -> None:
        self._handler = handler
        self.batch_items = min(_BATCH_ITEMS, handler.max_instances)

    async def process(self, items: Sequence[JobItem], options: Options) -> list[Outcome]:
        """Return one prediction or error per instance."""
        return await process_each(items, self._predict)

    async def _predict(self, items: Sequence[JobItem]) -> list[Outcome]:
        card = self._handler.model.card
        response = await self._handler.predict([instance_of(item.head["row"], card) for item in items])
        return [
            Outcome({"status": "ok", "prediction": prediction}, response.model) for prediction in response.predictions
        ]


def _has_fields(card: Card) -> bool:
    """Return whether the columns are the fields of an object, and not one column with the whole instance."""
    example = card.code.example if card.code is not None else None
    return [column.name for column in card.inputs] != [INSTANCE] or (
        isinstance(example, dict) and list(example) == [INSTANCE]
    )


def _as_cells(column: Column) -> Column:
    """Return a column whose cells may be empty if its field has a default."""
    return replace(column, nullable=column.nullable or not column.required)


def instance_of(row: dict[str, Any], card: Card) -> Any:  # Any: JSON
    """Return the instance in a row of a table. An empty cell is a field that is left out, where null is not allowed."""
    if not _has_fields(card):
        return row.get(INSTANCE)
    nullable = {column.name for column in card.inputs if column.nullable}
    return {name: value for name, value in row.items() if value is not None or name in nullable}


def _submission(handler: PythonHandler) -> JobSubmission:
    return table_submission(
        id="submit_instances_job",
        tag=TAG,
        summary="Predict a file of instances",
        description=(
            "CSV (UTF-8, with a header), NDJSON (`application/x-ndjson`), or Parquet. The columns are the fields of an "
            "instance, or `instance` where it is a single value. NDJSON may have nested values."
        ),
        form_title="PythonJobForm",
        csv=("A header, then instances.", lambda: _csv_example(handler)),
    )


def _csv_example(handler: PythonHandler) -> str:
    card = handler.model.card
    example = card.code.example if card.code is not None else None
    row = example if isinstance(example, dict) else {INSTANCE: example}
    return "".join(",".join(_cell(each) for each in line) + "\n" for line in (row, row.values()))


def _cell(value: Any) -> str:  # Any: JSON
    if value is None:
        return ""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return '"' + text.replace('"', '""') + '"'

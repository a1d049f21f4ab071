"""Jobs of rows: predict every row of a table."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import ValidationError

from models.errors import InvalidInput
from serving.errors.faults import faults_of
from serving.http.requests.json_bounds import DEFAULT_BOUNDS
from serving.jobs.kind import JobKind, JobSubmission
from serving.jobs.outcomes import Options, Outcome, error_outcome, process_each
from serving.jobs.storage.item_file import JobItem
from serving.jobs.table_submission import table_submission
from serving.kinds.tabular.routes import example_line

if TYPE_CHECKING:
    from serving.kinds.tabular.handler import TabularHandler

# Small batches: a request that arrives during one waits for it.
_BATCH_ITEMS = 64
_NAME = "tabular"


def job_kind(handler: TabularHandler) -> JobKind:
    """Return the kind of job that predicts rows."""
    return JobKind(
        name=_NAME,
        processor=RowProcessor(handler, max_rows=handler.max_rows),
        decoder="serving.jobs.decoding.table_uploads:decode_table",
        submission=_submission(handler),
        columns=lambda: handler.model.card.inputs,
        line_bytes=lambda options: _line_bytes(handler),
        item_labels=("id",),
        example=lambda: example_line(handler.model.current.schema),
    )


def _line_bytes(handler: TabularHandler) -> int:
    form = handler.model.current.schema.form
    return 512 + sum(32 + len(name) for name in form.labels() or [column.name for column in form.card.outputs])


class RowProcessor:
    """Predicts the rows of a job. Rows that do not fit the model's columns fail, and the others form one batch."""

    def __init__(self, handler: TabularHandler, *, max_rows: int) -> None:
        self._handler = handler
        self.batch_items = min(_BATCH_ITEMS, max_rows)

    async def process(self, items: Sequence[JobItem], options: Options) -> list[Outcome]:
        """Return one prediction or error per row."""
        return await process_each(items, self._predict)

    async def _predict(self, items: Sequence[JobItem]) -> list[Outcome]:
        most = max(DEFAULT_BOUNDS.names, 2 * len(self._handler.model.card.inputs))
        wide = InvalidInput(f"the row has more than {most} fields")
        rows = [item.head["row"] for item in items]
        outcomes = {position: error_outcome(wide) for position, row in enumerate(rows) if len(row) > most}
        left = [position for position in range(len(rows)) if position not in outcomes]
        while left:
            # Validation finds the first faulty row only.
            await asyncio.sleep(0)
            try:
                response = await self._handler.predict([rows[position] for position in left])
            except (ValidationError, InvalidInput) as error:
                faults = _faults_by_row(error)
                if not faults:
                    raise
                outcomes |= {left[row]: error_outcome(fault) for row, fault in faults.items()}
                left = [position for row, position in enumerate(left) if row not in faults]
            else:
                for position, row in zip(left, response.rows, strict=True):
                    outcomes[position] = Outcome({"status": "ok", **row}, response.model)
                break
        return [outcomes[position] for position in range(len(rows))]


def _faults_by_row(error: ValidationError | InvalidInput) -> dict[int, InvalidInput]:
    """Return the first fault of each faulty row."""
    located = [(tuple(error.location), str(error))] if isinstance(error, InvalidInput) else []
    if isinstance(error, ValidationError):
        located = [(("body", *fault.location), fault.message) for fault in faults_of(error)]
    faults: dict[int, InvalidInput] = {}
    for location, message in located:
        match location:
            case ("body", "instances", int(row), *rest):
                field = ".".join(str(part) for part in rest)
                faults.setdefault(row, InvalidInput(f"{field}: {message}" if field else message))
    return faults


def _submission(handler: TabularHandler) -> JobSubmission:
    return table_submission(
        id="submit_tabular_job",
        tag=_NAME,
        summary="Predict a file of rows",
        description=(
            "CSV (UTF-8, with a header; an empty cell is null where the column may be null), NDJSON "
            "(`application/x-ndjson`), or Parquet, as "
            "the file that the model was trained on. The columns are those of the model, in any order. Others, such "
            "as the target, are left out. A row that is not valid fails without the others."
        ),
        form_title="TableJobForm",
        csv=("A header, then rows.", lambda: _csv_example(handler)),
    )


def _csv_example(handler: TabularHandler) -> str:
    row = handler.model.current.schema.example_row
    cells = ("" if value is None else f'"{value}"' for value in row.values())
    return ",".join(f'"{name}"' for name in row) + "\n" + ",".join(cells) + "\n"

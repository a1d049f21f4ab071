"""Read the rows of CSV, NDJSON and Parquet files as items. A row that cannot be read is an item with a fault."""

from __future__ import annotations

import csv
import datetime
import decimal
import math
import zlib
from collections.abc import Collection, Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson

from models.errors import InputTooLarge, InvalidInput
from models.tables.cells import ReadCell, reader_of
from models.tables.csv_files import MAX_LINE_CHARACTERS, layout_of, open_csv
from serving.jobs.decoding.task import DecodeTask
from serving.jobs.storage.item_file import JobItem

# Bounds of one row. A history has at most 1,000 items.
MAX_ROW_VALUES = 10_000
MAX_DEPTH = 100
# Few rows per batch: a small Parquet file may contain large rows, because repeated values are stored once.
PARQUET_ROWS = 64
_SHOWN = 100
_SHOWN_NAMES = 50


def csv_rows(path: Path, task: DecodeTask) -> Iterator[JobItem]:
    """Yield the rows of a CSV file in UTF-8, whose first line names the columns. Raises InvalidInput, InputTooLarge.

    The layout is that of `models.tables.csv_files`: RFC 4180, and what other programs write.
    """
    records = None
    csv.field_size_limit(MAX_LINE_CHARACTERS)
    try:
        layout = layout_of(path)
        check_header(layout.names, task)
        with open_csv(path) as stream:
            lines = _RecordLines(stream, max_characters=task.limits.max_unpacked_bytes)
            for _ in range(layout.skipped_lines):
                next(lines)
            records = csv.reader(lines, delimiter=layout.delimiter, skipinitialspace=True, strict=True)
            next(records)
            yield from _typed_rows(lines.each(records), layout.names, task)
    except UnicodeDecodeError as error:
        line = f" after line {records.line_num}" if records is not None else ""
        raise InvalidInput(f"the file is not UTF-8{line}", location=("body",)) from error
    except csv.Error as error:
        line = f"line {records.line_num}" if records is not None else "its first line"
        raise InvalidInput(f"{line} is not CSV: {error}", location=("body",)) from error
    except ValueError as error:
        raise InvalidInput(str(error), location=("body",)) from error
    except (EOFError, OSError, zlib.error) as error:
        raise InvalidInput("the file is compressed with gzip, and damaged", location=("body",)) from error


def lines_of(stream: Any) -> Iterator[Any]:  # Any: a stream of text or of bytes, and its lines
    """Yield the lines of `stream`. Raises InputTooLarge for a line over MAX_LINE_CHARACTERS."""
    number = 0
    while line := stream.readline(MAX_LINE_CHARACTERS):
        number += 1
        if len(line) == MAX_LINE_CHARACTERS:
            raise InputTooLarge(f"line {number} is longer than {MAX_LINE_CHARACTERS} characters", location=("body",))
        yield line


class _RecordLines:
    """The lines of a CSV file. A record is at most as long as a line, although its cells may have line breaks.

    The file has at most `max_characters`: what is compressed may be much smaller.
    """

    def __init__(self, stream: IO[str], *, max_characters: int) -> None:
        self._lines = lines_of(stream)
        self._max_characters = max_characters
        self._record_characters = 0

    def __iter__(self) -> _RecordLines:
        return self

    def __next__(self) -> str:
        line: str = next(self._lines)
        self._record_characters += len(line)
        if self._record_characters > MAX_LINE_CHARACTERS:
            raise InputTooLarge(f"a row is longer than {MAX_LINE_CHARACTERS} characters", location=("body",))
        self._max_characters -= len(line)
        if self._max_characters < 0:
            raise InputTooLarge("the file unpacks to more than a job may have", location=("body",))
        return line

    def each(self, records: Iterator[list[str]]) -> Iterator[list[str]]:
        """Yield the records that are read from these lines."""
        while True:
            self._record_characters = 0
            record = next(records, None)
            if record is None:
                return
            yield record


def check_header(header: Sequence[str], task: DecodeTask) -> None:
    """Raise InvalidInput unless a header has the required columns and the id column once.

    Unknown columns are refused, unless the task ignores them.
    """
    columns, id_column = task.columns, task.id_column
    known = {column.name for column in columns} | ({id_column} if id_column is not None else set())
    if not any(header):
        raise InvalidInput("the table is empty; its first line has to name the columns", location=("body",))
    given: set[str] = set()
    for name in header:
        if name in given and (name in known or not task.ignores_extra_columns):
            raise InvalidInput(f"the column '{name[:_SHOWN]}' appears twice", location=("body", name[:_SHOWN]))
        given.add(name)
    unknown = [name[:_SHOWN] for name in header if name not in known]
    if unknown and not task.ignores_extra_columns:
        raise InvalidInput(_unknown_detail(unknown, sorted(known), id_column), location=("body", unknown[0]))
    required = [column.name for column in columns if column.required]
    for name in (*required, *([id_column] if id_column is not None else ())):
        if name not in given:
            shown = ", ".join(f"'{each[:_SHOWN]}'" for each in header[:_SHOWN_NAMES])
            message = f"the column '{name[:_SHOWN]}' is missing; the table has: {shown}"
            raise InvalidInput(message, location=("body", name[:_SHOWN]))


def _unknown_detail(unknown: Sequence[str], known: Sequence[str], id_column: str | None) -> str:
    if len(unknown) == 1:
        fact = f"there is no column '{unknown[0]}'"
    else:
        fact = "there are no columns " + ", ".join(f"'{name}'" for name in unknown[:_SHOWN_NAMES])
    remedy = ", or name the column with the ids of the rows in 'id_column'" if id_column is None else ""
    known_names = ", ".join(known[:_SHOWN_NAMES])
    return f"{fact}; known: {known_names}; leave them out with 'extra=ignore'{remedy}"


def _typed_rows(records: Iterator[list[str]], header: Sequence[str], task: DecodeTask) -> Iterator[JobItem]:
    readers = {column.name: reader_of(column) for column in task.columns}
    cells = [(position, name, readers[name]) for position, name in enumerate(header) if name in readers]
    id_position = header.index(task.id_column) if task.id_column is not None else None
    for record in records:
        if not record:
            continue
        if len(record) != len(header):
            yield JobItem({"fault": f"the row has {len(record)} cells, and the header {len(header)}"})
            continue
        head: dict[str, Any] = {"row": {name: read(record[position]) for position, name, read in cells}}
        if id_position is not None and task.id_column not in readers:
            head["id"] = record[id_position]
        elif id_position is not None:
            head["id"] = head["row"][task.id_column]
        yield JobItem(head)


def ndjson_rows(path: Path, task: DecodeTask) -> Iterator[JobItem]:
    """Yield the rows of a file with a JSON object in each line. Raises InputTooLarge."""
    names = {column.name for column in task.columns}
    for value in json_lines(path):
        if not isinstance(value, dict):
            yield JobItem({"fault": value.fault if isinstance(value, BadLine) else "the line is not a JSON object"})
        elif not task.ignores_extra_columns and len(value) > len(names) + (task.id_column is not None):
            yield JobItem({"fault": f"the row has {len(value)} members, and the model {len(names)} columns"})
        else:
            yield _row_item(value, names, task)


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is not JSON, or not a row."""

    fault: str = "the line is not JSON in UTF-8"


def json_lines(path: Path) -> Iterator[object]:
    """Yield the JSON value of each line that is not blank, or a BadLine. Raises InputTooLarge."""
    with path.open("rb") as stream:
        for line in lines_of(stream):
            if not line.strip():
                continue
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError:
                yield BadLine()
                continue
            # The worker validates items on the event loop.
            fault = _size_fault(value) if len(line) > MAX_DEPTH else None
            yield value if fault is None else BadLine(fault)


def _size_fault(value: object) -> str | None:
    """Return why a JSON value is too deep or too large for a row, or None."""
    values, level = 0, [value]
    for _ in range(MAX_DEPTH):
        nested: list[object] = []
        for container in level:
            members = container.values() if isinstance(container, dict) else container
            if isinstance(members, Collection) and not isinstance(members, str):
                values += len(members)
                nested += [member for member in members if isinstance(member, dict | list)]
        if values > MAX_ROW_VALUES:
            return f"the row has more than {MAX_ROW_VALUES} values"
        if not nested:
            return None
        level = nested
    return f"the row is nested deeper than {MAX_DEPTH}"


def parquet_rows(path: Path, task: DecodeTask) -> Iterator[JobItem]:
    """Yield the rows of a Parquet file, read in small batches. Raises InvalidInput, InputTooLarge."""
    import pyarrow
    import pyarrow.parquet

    readers = {column.name: reader_of(column) for column in task.columns}
    try:
        file = pyarrow.parquet.ParquetFile(path)
        check_header(file.schema_arrow.names, task)
        known = [name for name in file.schema_arrow.names if name in readers or name == task.id_column]
        for column in file.schema_arrow:
            if column.name in known and pyarrow.types.is_nested(column.type):
                message = f"the column '{column.name[:_SHOWN]}' has several values in a row"
                raise InvalidInput(message, location=("body", column.name[:_SHOWN]))
        if file.metadata.num_rows > task.limits.max_items:
            raise InputTooLarge(f"a job may have at most {task.limits.max_items} items", location=("body",))
        for batch in file.iter_batches(batch_size=PARQUET_ROWS, columns=known, use_threads=False):
            for row in batch.to_pylist():
                try:
                    values = {name: _parquet_value(value, readers.get(name)) for name, value in row.items()}
                except TypeError as error:
                    yield JobItem({"fault": str(error)})
                else:
                    yield _row_item(values, readers, task)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InvalidInput("the file is not a Parquet file, or it is damaged", location=("body",)) from error


def _row_item(row: dict[str, Any], names: Container[str], task: DecodeTask) -> JobItem:
    id_column = task.id_column
    id_ = row.get(id_column) if id_column is not None else None
    if not isinstance(id_, str | int | float | None):
        return JobItem({"fault": f"'{str(id_column)[:_SHOWN]}' has to be text or a number"})
    if task.ignores_extra_columns:
        row = {name: value for name, value in row.items() if name in names}
    elif id_column not in names:
        row = {name: value for name, value in row.items() if name != id_column}
    return JobItem({"row": row} if id_column is None else {"row": row, "id": id_})


def _parquet_value(value: object, read: ReadCell | None) -> object:
    if isinstance(value, str) and len(value) > MAX_LINE_CHARACTERS:
        raise TypeError(f"the row has a text of more than {MAX_LINE_CHARACTERS} characters")
    return read(value) if read is not None and isinstance(value, str) else _json_value(value)


def _json_value(value: object) -> object:
    """Return a value of a Parquet file as a JSON value. Raises TypeError for a type without a JSON form."""
    match value:
        case None | bool() | str() | int():
            return value
        case float():
            return None if math.isnan(value) else value
        case decimal.Decimal():
            return float(value)
        case datetime.date() | datetime.time():
            return value.isoformat()
        case _:
            raise TypeError(f"the row has a value of type {type(value).__name__}, which no column takes")

"""Rows of a table out of CSV, lines of JSON, and Parquet: each an item, or the fault of one row."""

from __future__ import annotations

import csv
import datetime
import decimal
import math
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from models.errors import InputTooLarge, InvalidInput
from serving.jobs.decoding.cells import ReadCell, reader_of, reader_of_text
from serving.jobs.decoding.task import ColumnSpec, DecodeTask
from serving.jobs.storage.item_file import Item

MAX_LINE_CHARACTERS = 1 << 20
# Few: a row of a Parquet file may be large although the file is small, where its values repeat.
PARQUET_ROWS = 64
_SHOWN = 100
_SHOWN_NAMES = 50


def csv_rows(path: Path, order: DecodeTask) -> Iterator[Item]:
    """The rows of a CSV file (RFC 4180) in UTF-8, whose first line names the columns. Raises InvalidInput."""
    with path.open(encoding="utf-8-sig", errors="strict", newline="") as stream:
        records = csv.reader(lines_of(stream), strict=True)
        csv.field_size_limit(MAX_LINE_CHARACTERS)
        try:
            header = next(records, [])
            check_header(header, order.columns, order.id_column)
            yield from _typed(records, header, order)
        except csv.Error as error:
            raise InvalidInput(f"line {records.line_num} is no CSV: {error}", location=("body",)) from error
        except UnicodeDecodeError as error:
            where = f"after line {records.line_num}"
            raise InvalidInput(f"the file is not UTF-8 {where}", location=("body",)) from error


def lines_of(stream: Any) -> Iterator[Any]:  # Any: a stream of text or of bytes, and its lines
    """The lines of `stream`, none of them longer than is reasonable. Raises InputTooLarge."""
    number = 0
    while line := stream.readline(MAX_LINE_CHARACTERS):
        number += 1
        if len(line) == MAX_LINE_CHARACTERS:
            raise InputTooLarge(f"line {number} is longer than {MAX_LINE_CHARACTERS} characters", location=("body",))
        yield line


def check_header(header: Sequence[str], columns: Sequence[ColumnSpec], id_column: str | None) -> None:
    """Raise InvalidInput where a table has not the columns that the model takes, each once, and `id_column`."""
    known = {column.name for column in columns} | ({id_column} if id_column is not None else set())
    if not any(header):
        raise InvalidInput("the table is empty; its first line has to name the columns", location=("body",))
    for place, name in enumerate(header):
        if name in header[:place]:
            raise InvalidInput(f"the column '{name[:_SHOWN]}' is there twice", location=("body", name[:_SHOWN]))
    if unknown := [name[:_SHOWN] for name in header if name not in known]:
        raise InvalidInput(_of_unknown(unknown, sorted(known), id_column), location=("body", unknown[0]))
    needed = [column.name for column in columns if column.is_required]
    for name in (*needed, *([id_column] if id_column is not None else ())):
        if name not in header:
            raise InvalidInput(f"the column '{name[:_SHOWN]}' is missing", location=("body", name[:_SHOWN]))


def _of_unknown(unknown: Sequence[str], known: Sequence[str], id_column: str | None) -> str:
    if len(unknown) == 1:
        said = f"there is no column '{unknown[0]}'"
    else:
        said = "there are no columns " + ", ".join(f"'{name}'" for name in unknown[:_SHOWN_NAMES])
    remedy = "; leave them out, or name one that tells rows apart in 'id_column'" if id_column is None else ""
    return f"{said}; known: {', '.join(known[:_SHOWN_NAMES])}{remedy}"


def _typed(records: Iterator[list[str]], header: list[str], order: DecodeTask) -> Iterator[Item]:
    kinds = {column.name: reader_of(column) for column in order.columns}
    named = [(place, name, kinds[name]) for place, name in enumerate(header) if name in kinds]
    id_place = header.index(order.id_column) if order.id_column is not None else None
    for record in records:
        if not record:
            continue
        if len(record) != len(header):
            yield Item({"fault": f"the row has {len(record)} cells, and the header {len(header)}"})
            continue
        head: dict[str, Any] = {"row": {name: read(record[place]) for place, name, read in named}}
        if id_place is not None and order.id_column not in kinds:
            head["id"] = record[id_place]
        elif id_place is not None:
            head["id"] = head["row"][order.id_column]
        yield Item(head)


def ndjson_rows(path: Path, order: DecodeTask) -> Iterator[Item]:
    """The rows of a file with a JSON object in each line. Raises InvalidInput for none."""
    names = {column.name for column in order.columns}
    for value in json_lines(path):
        if not isinstance(value, dict):
            yield Item({"fault": value.fault if isinstance(value, BadLine) else "the line is no JSON object"})
        else:
            yield _named(value, names, order.id_column)


class BadLine:
    """A line that is no JSON."""

    fault = "the line is no JSON in UTF-8"


def json_lines(path: Path) -> Iterator[object]:
    """The value of each line that is not blank; a BadLine for one that has none."""
    with path.open("rb") as stream:
        for line in lines_of(stream):
            if not line.strip():
                continue
            try:
                yield orjson.loads(line)
            except orjson.JSONDecodeError:
                yield BadLine()


def parquet_rows(path: Path, order: DecodeTask) -> Iterator[Item]:
    """The rows of a Parquet file, some at a time. Raises InvalidInput, InputTooLarge."""
    import pyarrow
    import pyarrow.parquet

    readers = {column.name: reader_of_text(column) for column in order.columns}
    try:
        file = pyarrow.parquet.ParquetFile(path)
        check_header(file.schema_arrow.names, order.columns, order.id_column)
        if file.metadata.num_rows > order.limits.max_items:
            raise InputTooLarge(f"a job may have at most {order.limits.max_items} items", location=("body",))
        for batch in file.iter_batches(batch_size=PARQUET_ROWS, use_threads=False):
            for row in batch.to_pylist():
                try:
                    values = {name: _parquet_value(value, readers.get(name)) for name, value in row.items()}
                except TypeError as error:
                    yield Item({"fault": str(error)})
                else:
                    yield _named(values, readers, order.id_column)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InvalidInput("the file is no Parquet file that can be read", location=("body",)) from error


def _named(row: dict[str, Any], names: Container[str], id_column: str | None) -> Item:
    if id_column is None:
        return Item({"row": row})
    name = row.get(id_column)
    if not isinstance(name, str | int | float | None):
        return Item({"fault": f"'{id_column[:_SHOWN]}' has to be text or a number"})
    if id_column not in names:
        row = {key: value for key, value in row.items() if key != id_column}
    return Item({"row": row, "id": name})


def _parquet_value(value: object, read: ReadCell | None) -> object:
    return read(value) if read is not None and isinstance(value, str) else _json_value(value)


def _json_value(value: object) -> object:
    """A value of a Parquet file as JSON has it. Raises TypeError for what JSON has not."""
    match value:
        case None | bool() | str() | int():
            return value
        case float():
            return None if math.isnan(value) else value
        case decimal.Decimal():
            return float(value)
        case datetime.date() | datetime.time():
            return value.isoformat()
        case list():
            return [_json_value(each) for each in value]
        case dict():
            return {str(key): _json_value(each) for key, each in value.items()}
        case _:
            raise TypeError(f"the row has a value of type {type(value).__name__}, which no column takes")

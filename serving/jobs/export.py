"""Export results as CSV and Parquet: convert the lines of a job to columns, in a child process.

The columns are known only after all lines were read, because another version of a model may have other classes.
Therefore each line is read twice, and no line is kept in memory.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Final, Literal, Protocol

import orjson
from pydantic import TypeAdapter

from serving.errors.exceptions import JobsUnavailable
from serving.jobs.decoding.fork_server import ChildLimits
from serving.jobs.decoding.sandbox import Sandbox

_LAST: Final = ("error_status", "error", "model", "model_version")
_BATCH_ROWS: Final = 2000
_TIMEOUT_S: Final = 600

Row = dict[str, Any]  # Any: JSON


class ExportColumns(Protocol):
    """A function that converts one member of a result line to columns."""

    def __call__(self, name: str, value: Any) -> Mapping[str, Any] | None:  # Any: JSON
        """Return the columns of the member, or None when it has no special form."""
        ...


@dataclass(frozen=True, slots=True)
class Export:
    """Write the lines of `segments`, each with its valid size, to `target`.

    `labels` and `columns` are `item_labels` and `export_columns` of the kind of the job.
    """

    segments: tuple[tuple[Path, int], ...]
    target: Path
    format: Literal["csv", "parquet"]
    max_bytes: int
    labels: tuple[str, ...] = ()
    columns: str | None = None
    max_memory_bytes: int = 2 << 30


EXPORT_ADAPTER = TypeAdapter(Export)


def export_in_child(sandbox: Sandbox, export: Export) -> None:
    """Write `export.target` in a child process. Blocks until the child has ended. Raises JobsUnavailable."""
    limits = ChildLimits(export.max_memory_bytes, export.max_bytes, cpu_s=_TIMEOUT_S, wall_s=_TIMEOUT_S)
    if sandbox.call(f"{__name__}:exported", EXPORT_ADAPTER.dump_json(export), limits) is None:
        export.target.unlink(missing_ok=True)
        raise JobsUnavailable(f"the result could not be written as {export.format}")


def write(export: Export) -> None:
    """Write `export.target`. Raises OSError."""
    columns = _columns_of(_rows_of(export), first=("index", *export.labels, "status"))
    write_rows = _write_csv if export.format == "csv" else _write_parquet
    write_rows(export.target, columns, _rows_of(export))


def _rows_of(export: Export) -> Iterator[Row]:
    convert: ExportColumns = resolve_name(export.columns) if export.columns else _no_columns
    for path, size_bytes in export.segments:
        with path.open("rb") as stream:
            left = size_bytes
            while left > 0:
                line = stream.readline(left)
                left -= len(line)
                yield _row_of(orjson.loads(line), convert)


def _no_columns(name: str, value: Any) -> None:  # Any: JSON
    return None


def _row_of(line: Row, convert: ExportColumns) -> Row:
    row: Row = {}
    for name, value in line.items():
        converted = convert(name, value)
        if converted is not None:
            row |= converted
        elif name == "probabilities":
            row |= {f"probability_{label}": share for label, share in value.items()}
        elif name == "error":
            row |= {"error_status": value["status"], "error": value["detail"]}
        elif name == "model":
            row |= {"model": value and value["name"], "model_version": value and value["version"]}
        else:
            row.setdefault(name, _text(value) if isinstance(value, list | dict) else value)
    return row


def _columns_of(rows: Iterator[Row], *, first: tuple[str, ...]) -> dict[str, type]:
    """Return the columns of all rows with their types. A column of several types is text."""
    types: dict[str, type] = {}
    for row in rows:
        for name, value in row.items():
            value_type = type(value)
            if value is None:
                types.setdefault(name, type(None))
            elif types.get(name, type(None)) is type(None):
                types[name] = value_type
            elif types[name] is not value_type:
                types[name] = float if {types[name], value_type} == {int, float} else str
    middle = [name for name in types if name not in (*first, *_LAST)]
    return {name: types[name] for name in (*first, *middle, *_LAST) if name in types}


def _write_csv(target: Path, columns: dict[str, type], rows: Iterator[Row]) -> None:
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(columns), restval="")
        writer.writeheader()
        writer.writerows(rows)


def _write_parquet(target: Path, columns: dict[str, type], rows: Iterator[Row]) -> None:
    import pyarrow
    import pyarrow.parquet

    arrow_types = {int: pyarrow.int64(), float: pyarrow.float64(), bool: pyarrow.bool_()}
    schema = pyarrow.schema(
        [(name, arrow_types.get(value_type, pyarrow.string())) for name, value_type in columns.items()]
    )
    with pyarrow.parquet.ParquetWriter(target, schema) as writer:
        while batch := list(itertools.islice(rows, _BATCH_ROWS)):
            cells = {name: [_cell(row.get(name), value_type) for row in batch] for name, value_type in columns.items()}
            writer.write_table(pyarrow.table(cells, schema=schema))


def _cell(value: object, value_type: type) -> object:
    if value is None or isinstance(value, value_type):
        return value
    return float(value) if value_type is float and isinstance(value, int) else _text(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def exported(payload: bytes) -> bytes:
    """Write the file of the export in `payload`. A child calls this."""
    write(EXPORT_ADAPTER.validate_json(payload))
    return b"written"

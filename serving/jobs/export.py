"""Export results as CSV and Parquet: convert the lines of a job to columns, in a child process.

The columns are known only after all lines were read, because another version of a model may have other classes.
Therefore each line is read twice, and no line is kept in memory. The file has no name, so that it disappears with the
last process that has it open, whatever ends that process.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import IO, Any, Final, Literal, Protocol

import orjson
from pydantic import TypeAdapter

from serving.errors.exceptions import JobsUnavailable
from serving.jobs.decoding.fork_server import STANDARD_OUTPUT, ChildLimits
from serving.jobs.decoding.sandbox import Sandbox

_LAST: Final = ("error_status", "error", "model", "model_version")
_BATCH_ROWS: Final = 2000
# The first characters of a formula, also those of full width, which East Asian versions accept.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_TIMEOUT_S: Final = 600

Row = dict[str, Any]  # Any: JSON


class ExportColumns(Protocol):
    """A function that converts one member of a result line to columns."""

    def __call__(self, name: str, value: Any) -> Mapping[str, Any] | None:  # Any: JSON
        """Return the columns of the member, or None when it has no special form."""
        ...


@dataclass(frozen=True, slots=True)
class Export:
    """The lines of `segments`, each with its valid size, as a file of at most `max_bytes`.

    `labels` and `columns` are `item_labels` and `export_columns` of the kind of the job. `has_formulas` leaves text in
    CSV as it is; otherwise text that a spreadsheet would run begins with an apostrophe.
    """

    segments: tuple[tuple[Path, int], ...]
    format: Literal["csv", "parquet"]
    max_bytes: int
    labels: tuple[str, ...] = ()
    columns: str | None = None
    has_formulas: bool = False
    max_memory_bytes: int = 2 << 30


EXPORT_ADAPTER = TypeAdapter(Export)


def export_in_child(sandbox: Sandbox, export: Export, folder: Path) -> IO[bytes]:
    """Return a file without a name on the disk of `folder`, which a child process has written.

    Blocks until the child has ended. Raises JobsUnavailable, OSError.
    """
    limits = ChildLimits(export.max_memory_bytes, export.max_bytes, cpu_s=_TIMEOUT_S, wall_s=_TIMEOUT_S)
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(tempfile.TemporaryFile(dir=folder))
        if sandbox.call(f"{__name__}:exported", EXPORT_ADAPTER.dump_json(export), limits, output=target) is None:
            raise JobsUnavailable(f"the result could not be written as {export.format}")
        target.seek(0)
        stack.pop_all()
    return target


def write(export: Export, target: IO[bytes]) -> None:
    """Write the file to `target`. Raises OSError."""
    columns = _columns_of(_rows_of(export), first=("index", *export.labels, "status"))
    if export.format == "csv":
        _write_csv(target, columns, _rows_of(export), cell=_unchanged if export.has_formulas else escaped)
    else:
        _write_parquet(target, columns, _rows_of(export))


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


def escaped(value: object) -> object:
    """Return a cell that a spreadsheet does not run as a formula.

    An apostrophe precedes text that begins with a character that starts a formula, or with an apostrophe: without the
    first apostrophe of each cell the text is exactly what it was. Numbers written as text stay as they are.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA_STARTS) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def _unchanged(value: object) -> object:
    return value


def _write_csv(
    target: IO[bytes], columns: dict[str, type], rows: Iterator[Row], *, cell: Callable[[object], object]
) -> None:
    stream = io.TextIOWrapper(target, encoding="utf-8", newline="")
    writer = csv.writer(stream)
    writer.writerow([cell(name) for name in columns])
    writer.writerows([cell(row.get(name, "")) for name in columns] for row in rows)
    stream.flush()
    stream.detach()


def _write_parquet(target: IO[bytes], columns: dict[str, type], rows: Iterator[Row]) -> None:
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
    """Write the file of the export in `payload` to standard output. A child calls this."""
    with open(STANDARD_OUTPUT, "wb", closefd=False) as target:
        write(EXPORT_ADAPTER.validate_json(payload), target)
    return b"written"

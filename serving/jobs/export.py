"""Results as CSV and Parquet: the lines of a job, flattened into columns, made by a process of its own.

    python -m serving.jobs.export < order.json

The columns are known only when all lines were looked at, for another version of a model may have other classes: each
line is read twice, and none is kept.
"""

from __future__ import annotations

import csv
import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import TypeAdapter

from serving.errors.exceptions import JobsUnavailable
from serving.jobs.decoding.sandbox import limit_this_process, run_child

_FIRST = ("index", "id", "name", "user_id", "status")
_LAST = ("error_status", "error", "model", "model_version")
_ROWS = 2000
_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class Export:
    """Write the lines of `segments`, of each so many bytes, to `target`."""

    segments: tuple[tuple[Path, int], ...]
    target: Path
    format: Literal["csv", "parquet"]
    max_bytes: int
    max_memory_bytes: int = 2 << 30


EXPORT = TypeAdapter(Export)


def export_in_child(export: Export) -> None:
    """Write `export.target`. Blocks until that is done. Raises JobsUnavailable."""
    if run_child("serving.jobs.export", EXPORT.dump_json(export), timeout_s=_TIMEOUT_S) is None:
        export.target.unlink(missing_ok=True)
        raise JobsUnavailable(f"the result could not be written as {export.format}")


def write(export: Export) -> None:
    """Write `export.target`. Raises OSError."""
    columns = columns_of(rows_of(export.segments))
    write_as = _write_csv if export.format == "csv" else _write_parquet
    write_as(export.target, columns, rows_of(export.segments))


def rows_of(segments: tuple[tuple[Path, int], ...]) -> Iterator[dict[str, Any]]:
    """Each line as a flat row."""
    for path, size_bytes in segments:
        with path.open("rb") as stream:
            left = size_bytes
            while left > 0:
                line = stream.readline(left)
                left -= len(line)
                yield flat(orjson.loads(line))


def flat(line: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
    """A line of a result as a row: what has parts gets a column for each, lists are JSON."""
    row = {name: line[name] for name in _FIRST if name in line}
    for name, value in line.items():
        if name == "probabilities":
            row |= {f"probability_{label}": share for label, share in value.items()}
        elif name == "predictions":
            best = value[0] if value else {}
            row |= {"label": best.get("label"), "confidence": best.get("confidence"), name: _text(value)}
        elif name == "items":
            row |= {"item_ids": " ".join(item["item_id"] for item in value), name: _text(value)}
        elif name == "error":
            row |= {"error_status": value["status"], "error": value["detail"]}
        elif name == "model":
            row |= {"model": value and value["name"], "model_version": value and value["version"]}
        else:
            row.setdefault(name, value)
    return row


def columns_of(rows: Iterator[dict[str, Any]]) -> dict[str, type]:
    """The columns of all rows, and of what type each is: text where there are several."""
    found: dict[str, type] = {}
    for row in rows:
        for name, value in row.items():
            kind = type(value)
            if value is None:
                found.setdefault(name, type(None))
            elif found.get(name, type(None)) is type(None):
                found[name] = kind
            elif found[name] is not kind:
                found[name] = float if {found[name], kind} == {int, float} else str
    middle = [name for name in found if name not in (*_FIRST, *_LAST)]
    return {name: found[name] for name in (*_FIRST, *middle, *_LAST) if name in found}


def _write_csv(target: Path, columns: dict[str, type], rows: Iterator[dict[str, Any]]) -> None:
    with target.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(columns), restval="")
        writer.writeheader()
        writer.writerows(rows)


def _write_parquet(target: Path, columns: dict[str, type], rows: Iterator[dict[str, Any]]) -> None:
    import pyarrow
    import pyarrow.parquet

    kinds = {int: pyarrow.int64(), float: pyarrow.float64(), bool: pyarrow.bool_()}
    schema = pyarrow.schema([(name, kinds.get(kind, pyarrow.string())) for name, kind in columns.items()])
    with pyarrow.parquet.ParquetWriter(target, schema) as writer:
        while part := list(itertools.islice(rows, _ROWS)):
            cells = {name: [_cell(row.get(name), kind) for row in part] for name, kind in columns.items()}
            writer.write_table(pyarrow.table(cells, schema=schema))


def _cell(value: object, kind: type) -> object:
    if value is None or isinstance(value, kind):
        return value
    return float(value) if kind is float and isinstance(value, int) else _text(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def main() -> None:
    """Read what is to be written, and write it."""
    export = EXPORT.validate_json(sys.stdin.buffer.read())
    limit_this_process(memory_bytes=export.max_memory_bytes, file_bytes=export.max_bytes, cpu_s=_TIMEOUT_S)
    write(export)


if __name__ == "__main__":
    main()

"""Labelled texts, from a CSV or Parquet file: what a text classifier is trained and measured on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from models.card import DataSource
from models.errors import DataInvalid
from training.tables import Table, read_table

MIN_ROWS = 50
# With fewer rows a class cannot be spread over training, calibration and test.
MIN_CLASS_ROWS = 10
MAX_CLASSES = 500

_SHOWN_CLASSES = 5


@dataclass(frozen=True, slots=True)
class Corpus:
    """N texts and the class of each, and where they came from. `target` is what the classes are about."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    target: str
    source: DataSource

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes: in numerical order when all of them are integers, else in alphabetical order."""
        distinct = sorted(set(self.labels))
        if all(label.isdecimal() for label in distinct):
            distinct.sort(key=int)
        return tuple(distinct)


def read_corpus(path: Path, *, text: str, target: str, delimiter: str = "") -> Corpus:
    """Read a file whose column `text` holds the texts and whose column `target` holds their classes.

    Raises DataInvalid when the file cannot be read, a column is missing, is of another type or has empty cells, or the
    classes cannot be learnt from its rows.
    """
    if text == target:
        raise DataInvalid(f"'{text}' is both --text and --target; name two columns")
    table = read_table(path, delimiter=delimiter, text=(text, target))
    texts, labels = _texts(table, text), [label.strip() for label in _labels(table, target)]
    _refuse_empty(table, text, texts)
    _refuse_empty(table, target, labels)
    _check_classes(table, target, labels)
    return Corpus(
        tuple(texts), tuple(labels), target, DataSource(name=table.name, sha256=table.sha256, rows=len(table))
    )


def _texts(table: Table, name: str) -> list[str]:
    column = table.column(name)
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise DataInvalid(f"column '{name}' of '{table.name}' holds {kind}, not text; name a column of text in --text")
    return _strings(column)


def _labels(table: Table, name: str) -> list[str]:
    column = table.column(name)
    try:
        return _strings(column)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataInvalid(
            f"column '{name}' of '{table.name}' holds {column.type}; classes are text, integers or booleans"
        ) from error


def _strings(column: pa.ChunkedArray) -> list[str]:
    strings: list[str] = pc.fill_null(column.cast(pa.string()), "").to_pylist()
    return strings


def _refuse_empty(table: Table, name: str, values: list[str]) -> None:
    empty = [row for row, value in enumerate(values, start=1) if not value.strip()]
    if empty:
        raise DataInvalid(
            f"column '{name}' of '{table.name}' is empty in {len(empty):,} rows, first in row {empty[0]}; "
            "fill them or delete the rows"
        )


def _check_classes(table: Table, name: str, labels: list[str]) -> None:
    if len(labels) < MIN_ROWS:
        raise DataInvalid(f"'{table.name}' has {len(labels)} rows, at least {MIN_ROWS} are needed")
    counts = Counter(labels)
    if len(counts) < 2:
        raise DataInvalid(f"column '{name}' of '{table.name}' has only the class '{labels[0]}'; two are needed")
    if len(counts) > MAX_CLASSES:
        raise DataInvalid(f"column '{name}' of '{table.name}' has {len(counts):,} classes, at most {MAX_CLASSES} work")
    rare = sorted((count, label) for label, count in counts.items() if count < MIN_CLASS_ROWS)
    if rare:
        shown = ", ".join(f"'{label}' ({count})" for count, label in rare[:_SHOWN_CLASSES])
        more = f" and {len(rare) - _SHOWN_CLASSES} more" if len(rare) > _SHOWN_CLASSES else ""
        raise DataInvalid(
            f"column '{name}' of '{table.name}' has classes of fewer than {MIN_CLASS_ROWS} rows: {shown}{more}; "
            "add rows, merge the classes or delete them"
        )

"""The text of one cell of a CSV file as a value of its column. What cannot be one stays text, for the row's check."""

from __future__ import annotations

import re
from collections.abc import Callable

from serving.jobs.decoding.order import ColumnSpec

# JSON's numbers, with what spreadsheets write too: a plus, no digit before or after the point.
_NUMBER = re.compile(r"[+-]?(\d{1,400}(\.\d{0,400})?|\.\d{1,400})([eE][+-]?\d{1,4})?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}

ReadCell = Callable[[str], object]


def reader_of(column: ColumnSpec) -> ReadCell:
    """What reads the cells of `column`. An empty cell is null where the column may be null."""
    read = {"number": _number, "integer": _number, "boolean": _boolean}.get(column.kind, _text)
    if not column.is_nullable:
        return read
    return lambda text: None if text == "" else read(text)


def _text(text: str) -> object:
    return text


def _number(text: str) -> object:
    stripped = text.strip()
    if _INTEGER.fullmatch(stripped):
        return int(stripped)
    return float(stripped) if _NUMBER.fullmatch(stripped) else text


def _boolean(text: str) -> object:
    return _BOOLEANS.get(text.strip().lower(), text)

"""Convert the text in a table cell to a value of its column, with the rules of training.

Text that does not fit its column stays text, and the validation of the row reports it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from models.card import BOOLEAN_WORDS, MISSING_WORDS
from serving.jobs.decoding.task import ColumnSpec

# JSON's numbers, and those of spreadsheets: with a plus sign, without digits before or after the point.
_NUMBER = re.compile(r"[+-]?(\d{1,400}(\.\d{0,400})?|\.\d{1,400})([eE][+-]?\d{1,4})?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
# Spreadsheets and pandas write integers as 5.0 when a cell of the column is empty.
_WHOLE = re.compile(r"([+-]?\d{1,18})\.0*", re.ASCII)
_BOOLEANS = {"1": True, "0": False} | {word: truth for words in BOOLEAN_WORDS for word, truth in words.items()}

ReadCell = Callable[[str], object]


def reader_of(column: ColumnSpec) -> ReadCell:
    """Return the reader of CSV cells of `column`. In a nullable column empty cells and words such as "NA" are null."""
    read = _READERS.get(column.kind, _text)
    if not column.is_nullable:
        return read
    missing = MISSING_WORDS.difference(column.categories)
    return lambda text: None if text.strip() in missing else read(text)


def reader_of_text(column: ColumnSpec) -> ReadCell:
    """Return the reader of text in a typed table, such as Parquet: only booleans and categories are converted."""
    return _READERS[column.kind] if column.kind in ("boolean", "category") else _text


def _text(text: str) -> object:
    return text


def _category(text: str) -> object:
    return text.strip()


def _number(text: str) -> object:
    stripped = text.strip()
    if _INTEGER.fullmatch(stripped):
        return int(stripped)
    return float(stripped) if _NUMBER.fullmatch(stripped) else text


def _integer(text: str) -> object:
    whole = _WHOLE.fullmatch(text.strip())
    return int(whole[1]) if whole else _number(text)


def _boolean(text: str) -> object:
    return _BOOLEANS.get(text.strip().lower(), text)


_READERS: dict[str, ReadCell] = {"number": _number, "integer": _integer, "boolean": _boolean, "category": _category}

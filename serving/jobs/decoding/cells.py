"""Text in a table as a value of its column, as training reads it. What is none stays text, for the row's check."""

from __future__ import annotations

import re
from collections.abc import Callable

from models.card import BOOLEAN_WORDS, MISSING_WORDS
from serving.jobs.decoding.task import ColumnSpec

# JSON's numbers, with what spreadsheets write too: a plus, no digit before or after the point.
_NUMBER = re.compile(r"[+-]?(\d{1,400}(\.\d{0,400})?|\.\d{1,400})([eE][+-]?\d{1,4})?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
# A whole column of numbers has a fraction where one of its cells was empty when it was written.
_WHOLE = re.compile(r"([+-]?\d{1,18})\.0*", re.ASCII)
_BOOLEANS = {"1": True, "0": False} | {word: truth for words in BOOLEAN_WORDS for word, truth in words.items()}

ReadCell = Callable[[str], object]


def reader_of(column: ColumnSpec) -> ReadCell:
    """What reads the cells of `column` in a CSV file. One that is empty, or says that nothing is known ("NA"), is null
    where the column may be null."""
    read = _READERS.get(column.kind, _text)
    if not column.is_nullable:
        return read
    missing = MISSING_WORDS.difference(column.categories)
    return lambda text: None if text.strip() in missing else read(text)


def reader_of_text(column: ColumnSpec) -> ReadCell:
    """What reads text where the table has types of its own: only what training reads out of text there too."""
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

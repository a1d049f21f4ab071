"""Read the text in a table's cell as a value of its column. Training and jobs read tables by these rules.

Text that does not fit its column stays text, and the validation of the row reports it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from models.card import BOOLEAN_WORDS, MISSING_WORDS, Column
from models.tables.dates import iso_date, seconds_of

# JSON's numbers, and those of spreadsheets: with a plus sign, without digits before or after the point.
_NUMBER = re.compile(r"[+-]?(\d{1,400}(\.\d{0,400})?|\.\d{1,400})([eE][+-]?\d{1,4})?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
# Spreadsheets and pandas write integers as 5.0 when a cell of the column is empty.
_WHOLE = re.compile(r"([+-]?\d{1,18})\.0*", re.ASCII)
# Groups of three digits, after each decimal separator: 1,234,567.8 and 1.234.567,8; blanks and apostrophes group too.
_GROUPED = {
    ".": re.compile(r"[+-]?\d{1,3}([,' \u00a0\u202f\u2019]\d{3}){1,10}(\.\d{0,40})?"),
    ",": re.compile(r"[+-]?\d{1,3}([.' \u00a0\u202f\u2019]\d{3}){1,10}(,\d{0,40})?"),
}
_COMMA = re.compile(r"[+-]?\d{0,400},\d{1,400}", re.ASCII)
# A letter directly before a number makes a code of it, such as A12.
_UNIT = re.compile(
    r"(?P<before>[$\u20ac\u00a3\u00a5\u20b9] ?|[A-Z]{3} )?(?P<sign>[+-]?)(?P<number>[\d.].*?)"
    r"(?P<after> ?[^\d\s.,'+-]{1,4})?"
)
_MAX_NUMBER_CHARACTERS = 400
_BOOLEANS = {"1": True, "0": False} | {word: truth for words in BOOLEAN_WORDS for word, truth in words.items()}

ReadCell = Callable[[str], object]


def reader_of(column: Column) -> ReadCell:
    """Return the reader of text cells of `column`. In a nullable column empty cells and words such as "NA" are null."""
    read = _reader(column)
    if not column.nullable:
        return read
    missing = MISSING_WORDS.union(column.missing_words).difference(column.categories)
    return lambda text: None if text.strip() in missing else read(text)


def number_of(text: str, *, decimal: str = ".", unit: str = "") -> int | float | None:
    """Return the number in a cell, such as "1,234.5", or "12 %" with that `unit`; None when there is none."""
    text = text.strip()
    if unit and len(text) <= _MAX_NUMBER_CHARACTERS:
        text = _without_unit(text, unit)
    if decimal == ".":
        if _INTEGER.fullmatch(text):
            return int(text)
        if _NUMBER.fullmatch(text):
            return float(text)
    elif _COMMA.fullmatch(text):
        return float(text.replace(",", "."))
    elif _INTEGER.fullmatch(text):
        return int(text)
    if not _GROUPED[decimal].fullmatch(text):
        return None
    plain = re.sub(rf"[^\d{decimal}+-]", "", text).replace(",", ".")
    return float(plain) if "." in plain else int(plain)


def unit_of(text: str) -> str:
    """Return the currency, percent sign or unit around the number in a cell, such as "$" or "%"; empty for none."""
    match = _UNIT.fullmatch(text.strip()[:_MAX_NUMBER_CHARACTERS])
    if match is None:
        return ""
    units = [unit.strip() for unit in (match["before"], match["after"]) if unit and unit.strip()]
    return units[0] if len(units) == 1 else ""


def _without_unit(text: str, unit: str) -> str:
    sign = text[:1] if text[:1] in "+-" else ""
    bare = text[len(sign) :].strip()
    if bare.startswith(unit):
        bare = bare[len(unit) :].strip()
    elif bare.endswith(unit):
        bare = bare[: -len(unit)].strip()
    return sign + bare if bare[:1].isdigit() or bare[:1] == "." or not sign else bare


def _reader(column: Column) -> ReadCell:
    if column.kind == "date":
        return lambda text: _date(text, column.date_format)
    if column.kind in ("number", "integer"):
        is_integer = column.kind == "integer"
        return lambda text: _number(text, column.decimal, column.unit, is_integer=is_integer)
    return {"boolean": _boolean, "category": _category}.get(column.kind, _text)


def _text(text: str) -> object:
    return text


def _category(text: str) -> object:
    return text.strip()


def _number(text: str, decimal: str, unit: str, *, is_integer: bool) -> object:
    if is_integer and (whole := _WHOLE.fullmatch(text.strip())):
        return int(whole[1])
    number = number_of(text, decimal=decimal, unit=unit)
    return text if number is None else number


def _boolean(text: str) -> object:
    return _BOOLEANS.get(text.strip().lower(), text)


def _date(text: str, date_format: str) -> object:
    seconds = seconds_of(text, date_format)
    return text if seconds is None else iso_date(seconds)

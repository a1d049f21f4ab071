"""Decide what a column of text holds: booleans, numbers, dates, categories, free text, or nothing that is usable.

The decision is made once, from all rows, and holds in every fold and in serving.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from models.card import BOOLEAN_WORDS, Column
from models.limits import MAX_TEXT_CHARACTERS
from models.tables.cells import number_of, unit_of
from models.tables.dates import seconds_of

# More distinct values than this are not listed in a card.
MOST_CATEGORIES = 5_000

# The share of cells that must be numbers or dates; the others count as missing when they are few distinct words.
_SHARE = 0.95
_MAX_MISSING_WORDS = 5
_MIN_ROWS_PER_CATEGORY = 3
_MIN_WORDS = 3.0
# Longer numbers are identifiers: they are not exact as numbers.
_MAX_DIGITS = 15
_SAMPLE = 200
_DATE_FORMATS = (
    "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d.%m.%y", "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y", "%d-%m-%Y",
    "%m-%d-%Y",
    "%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d %Y", "%Y%m%d",
)  # fmt: skip
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_LEADING_ZERO = re.compile(r"0\d+")
_HAS_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class TextType:
    """The type of a text column. `reason` is why it is not used, or empty; `note` is what a user should know."""

    column: Column
    reason: str = ""
    note: str = ""


def text_type(column: Column, present: pd.Series, *, max_categories: int, decimal: str = ".") -> TextType:
    """Return the type of a text column from its stripped values without missing ones."""
    words = present.unique().tolist()
    if (boolean := _boolean(column, words)) is not None:
        return TextType(boolean)
    if (numeric := _numeric(column, present, words, decimal)) is not None:
        return numeric
    if (dated := _dated(column, present, words)) is not None:
        return dated
    if longest := next((word for word in words if len(word) > MAX_TEXT_CHARACTERS), ""):
        return TextType(column, f"a value has {len(longest):,} characters; at most {MAX_TEXT_CHARACTERS:,} can be sent")
    return _categories_or_text(column, present, words, max_categories)


def _boolean(column: Column, words: Sequence[str]) -> Column | None:
    lowered = {word.lower() for word in words}
    for truths in BOOLEAN_WORDS:
        if lowered <= truths.keys():
            truth = next((word for word in words if truths[word.lower()]), "")
            return replace(column, kind="boolean", description=f"true means '{truth}'" if truth else "")
    return None


def _numeric(column: Column, present: pd.Series, words: Sequence[str], decimal: str) -> TextType | None:
    sample = words[:_SAMPLE]
    units = Counter(unit_of(word) for word in sample if _HAS_DIGIT.search(word))
    if not units or sum(units.values()) < len(sample) / 2:
        return None
    unit = units.most_common(1)[0][0]
    decimal = _decimal(words, unit, decimal)
    numbers = {word: number_of(word, decimal=decimal, unit=unit) for word in words}
    exceptions = _exceptions(present, numbers)
    if exceptions.are_many:
        if exceptions.share < 0.5 and len(words) > _SAMPLE / 2:
            shown = exceptions.words[0][:40]
            reason = f"mostly numbers, but also text such as '{shown}'; correct such values or leave them empty"
            return TextType(column, reason)
        return None
    digits = (re.sub(r"\D", "", word) for word in words if numbers[word] is not None)
    if any(_LEADING_ZERO.fullmatch(word) for word in words) or any(len(each) > _MAX_DIGITS for each in digits):
        # Postal codes, phone numbers, long ids.
        return None
    values = [number for number in numbers.values() if number is not None]
    is_integer = all(isinstance(number, int) for number in values)
    descriptions = {"%": "in percent", "": ""}
    typed = replace(
        exceptions.allowed_in(column),
        kind="integer" if is_integer else "number",
        minimum=float(min(values)),
        maximum=float(max(values)),
        description=descriptions.get(unit, f"in {unit}"),
        decimal=decimal,
        unit=unit,
    )
    return TextType(typed, note=f"text is read as numbers, such as '{words[0][:40]}'{exceptions.note}")


def _decimal(words: Sequence[str], unit: str, decimal: str) -> str:
    """Return the decimal separator: a comma only where every value with one is a number with a decimal comma only."""
    if decimal == ",":
        return decimal
    with_comma = [word for word in words if "," in word]
    as_point = sum(number_of(word, unit=unit) is not None for word in with_comma)
    as_comma = sum(number_of(word, decimal=",", unit=unit) is not None for word in with_comma)
    return "," if as_comma > as_point else "."


def _dated(column: Column, present: pd.Series, words: Sequence[str]) -> TextType | None:
    sample = words[:_SAMPLE]
    if sum(bool(_HAS_DIGIT.search(word)) for word in sample) < len(sample) / 2:
        return None
    date_format = _date_format(sample)
    if date_format is None:
        return None
    exceptions = _exceptions(present, {word: seconds_of(word, date_format) for word in words})
    if exceptions.are_many:
        return None
    typed = replace(exceptions.allowed_in(column), kind="date", date_format=date_format)
    shown = f", read as {date_format}" if date_format else ""
    return TextType(typed, note=f"dates, such as '{words[0][:40]}'{shown}{exceptions.note}")


@dataclass(frozen=True, slots=True)
class _Exceptions:
    """The words of a column that are not of its type, their number of rows, and their share of all rows."""

    words: tuple[str, ...]
    rows: int
    share: float

    @property
    def are_many(self) -> bool:
        """Whether they are too many to count as missing."""
        return 1 - self.share < _SHARE or len(self.words) > _MAX_MISSING_WORDS

    @property
    def note(self) -> str:
        """What a user should know of them; an empty text for none."""
        words = ", ".join(map(repr, self.words))
        return f"; {words} counts as missing ({self.rows:,} rows)" if self.words else ""

    def allowed_in(self, column: Column) -> Column:
        """Return `column` with these words as missing values."""
        is_complete = not self.words
        return replace(
            column,
            nullable=column.nullable or not is_complete,
            required=column.required and is_complete,
            missing_words=self.words,
        )


def _exceptions(present: pd.Series, values: Mapping[str, object]) -> _Exceptions:
    """Return the words without a value."""
    words = tuple(word for word, value in values.items() if value is None)
    rows = int(present.isin(words).sum())
    return _Exceptions(words, rows, rows / len(present))


def _date_format(words: Sequence[str]) -> str | None:
    """Return the format that reads the most words: empty for ISO 8601, None where none reads enough of them."""
    best, most = None, _SHARE * len(words) * 0.9
    for date_format in ("", *(day + time for day in _DATE_FORMATS for time in _TIMES)):
        count = sum(seconds_of(word, date_format) is not None for word in words)
        if count > most:
            best, most = date_format, count
    return best


def _categories_or_text(column: Column, present: pd.Series, words: Sequence[str], max_categories: int) -> TextType:
    rows, distinct = len(present), len(words)
    if distinct <= min(max_categories, rows / 2):
        return TextType(replace(column, kind="category", categories=tuple(sorted(words))))
    if distinct <= min(MOST_CATEGORIES, rows / _MIN_ROWS_PER_CATEGORY):
        typed = replace(column, kind="category", categories=tuple(sorted(words)), accepts_unknown=True)
        return TextType(typed, note=f"{distinct:,} categories; other values count as unknown")
    if present.str.count(r"\w+").mean() >= _MIN_WORDS:
        return TextType(replace(column, kind="text"), note="free text: its words are used")
    if distinct == rows:
        return TextType(column, "an id: every row has a different value")
    if distinct > MOST_CATEGORIES:
        return TextType(column, f"an id: {distinct:,} distinct values, more than {MOST_CATEGORIES:,} categories")
    return TextType(column, f"an id: {distinct:,} distinct values in {rows:,} rows")

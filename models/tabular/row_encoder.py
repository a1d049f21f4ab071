"""Encodes rows of JSON values as the numeric array that a tabular model takes, as the inputs of its card define it.

Training encodes its tables with the same code, so that both sides agree.

number, integer   the value; NaN when missing
boolean           0 or 1; NaN when missing
category          its index in `Column.categories`, or MISSING, or NONE_OF_THESE
date              its parts (`models.tables.dates.PARTS`); NaN when missing
text              the hashes of its words (`models.tabular.tokens`), padded with NO_TOKEN
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from types import NoneType

import numpy as np
from numpy.typing import NDArray

from models.card import Card, Column
from models.errors import ArtifactInvalid, InvalidInput
from models.limits import MAX_NUMBER
from models.tables.dates import PARTS, date_parts, seconds_of
from models.tabular.tokens import TOKENS, token_ids

# Codes of a category column in addition to its indices 0, 1, ...
MISSING = -1
NONE_OF_THESE = -2

# The number of encoded columns of an input that has more than one.
_WIDTHS = {"date": len(PARTS), "text": TOKENS}
_EXPECTED = {
    "integer": "an integer", "boolean": "true or false", "date": "a date in ISO 8601, such as 2024-05-31",
    "text": "text", "category": "text",
}  # fmt: skip
_SHOWN_CATEGORIES = 12
_SHOWN_CHARACTERS = 60

# Maps the values of one column to values that numpy converts to numbers; None when one of them is invalid.
_Converter = Callable[[list[object]], list[object] | None]


class RowEncoder:
    """Encodes rows for the model of one card. Immutable and thread-safe."""

    def __init__(self, card: Card) -> None:
        self._set_columns(card.inputs)

    @classmethod
    def for_columns(cls, columns: Sequence[Column]) -> RowEncoder:
        """Create an encoder for columns without a card. Raise ArtifactInvalid for a kind that tables do not support."""
        encoder = cls.__new__(cls)
        encoder._set_columns(tuple(columns))
        return encoder

    def encode(self, rows: Sequence[Mapping[str, object]]) -> NDArray[np.float64]:
        """Encode N >= 1 rows as float64 (N, W), columns in the card's order. A missing key counts as null.

        Raise InvalidInput for the first error, with the location `(row, column)`. Other keys are ignored: the schema of
        the request refuses them.
        """
        return self.encode_columns([[row.get(column.name) for row in rows] for column in self._columns])

    def encode_columns(self, values: Sequence[list[object]]) -> NDArray[np.float64]:
        """Encode F columns of N values each, as `encode` does."""
        if not values or not values[0]:
            raise InvalidInput("no rows")
        encoded = []
        for column, convert, given in zip(self._columns, self._converters, values, strict=True):
            converted = convert(given)
            if converted is None:
                raise _error(column, convert, given)
            encoded.append(converted)
        if not self._is_wide:
            return self._numbers(encoded, self._columns)
        return np.concatenate(
            [self._expanded(column, each) for column, each in zip(self._columns, encoded, strict=True)], axis=1
        )

    @property
    def parts(self) -> tuple[slice, ...]:
        """The encoded columns of each input."""
        ends = list(accumulate((_WIDTHS.get(column.kind, 1) for column in self._columns), initial=0))
        return tuple(slice(start, end) for start, end in pairwise(ends))

    @property
    def width(self) -> int:
        """The number of encoded columns."""
        return self.parts[-1].stop if self._columns else 0

    def _set_columns(self, columns: tuple[Column, ...]) -> None:
        self._columns = columns
        self._converters = [_converter(column) for column in columns]
        self._is_wide = any(column.kind in _WIDTHS for column in columns)

    def _expanded(self, column: Column, values: list[object]) -> NDArray[np.float64]:
        if column.kind == "text":
            return token_ids(values)  # type: ignore[arg-type]  # checked by the converter
        numbers = self._numbers([values], (column,))
        return date_parts(numbers[:, 0]) if column.kind == "date" else numbers

    @staticmethod
    def _numbers(encoded: list[list[object]], columns: Sequence[Column]) -> NDArray[np.float64]:
        try:
            table = np.array(encoded, dtype=np.float64)
        except OverflowError:  # an integer of more than 308 digits
            table = np.array([[_to_float(value) for value in numbers] for numbers in encoded])
        with np.errstate(invalid="ignore"):
            usable = np.abs(table) <= MAX_NUMBER
        if not usable.all():
            for row, position in np.argwhere(~usable.T).tolist():
                if encoded[position][row] is not None:
                    name = columns[position].name
                    message = f"'{name}' must be a finite number of at most {MAX_NUMBER:.1e}"
                    raise InvalidInput(message, location=(row, name))
        return np.ascontiguousarray(table.T)


def _converter(column: Column) -> _Converter:
    allowed = {NoneType} if column.nullable else set()
    if column.kind == "category":
        return _category_converter(column)
    if column.kind == "date":
        return _date_converter(column)
    if column.kind == "text":
        texts = allowed | {str}
        return lambda values: values if texts.issuperset(map(type, values)) else None
    kinds: dict[str, set[type]] = {"number": {int, float}, "integer": {int}, "boolean": {bool}}
    if column.kind not in kinds:
        raise ArtifactInvalid(f"input '{column.name}' is of kind '{column.kind}', which tables do not support")
    accepted = allowed | kinds[column.kind]

    def convert(values: list[object]) -> list[object] | None:
        # Compare exact types: a bool is an instance of int, and numpy parses numbers from text.
        return values if accepted.issuperset(map(type, values)) else None

    if column.kind != "integer":
        return convert

    def convert_integers(values: list[object]) -> list[object] | None:
        is_whole = all(type(value) in accepted or (type(value) is float and value.is_integer()) for value in values)
        return values if is_whole else None

    return lambda values: convert(values) or convert_integers(values)


def _category_converter(column: Column) -> _Converter:
    codes: dict[object, object] = {category: index for index, category in enumerate(column.categories)}
    if column.nullable:
        codes[None] = MISSING
    text = {str, NoneType} if column.nullable else {str}

    def convert(values: list[object]) -> list[object] | None:
        if not text.issuperset(map(type, values)):
            return None
        if column.accepts_unknown:
            return [codes.get(value, NONE_OF_THESE) for value in values]
        try:
            return [codes[value] for value in values]
        except KeyError:
            return None

    return convert


def _date_converter(column: Column) -> _Converter:
    def convert(values: list[object]) -> list[object] | None:
        seconds = [seconds_of(value) if isinstance(value, str) else None for value in values]
        is_read = all(
            each is not None or (value is None and column.nullable) for each, value in zip(seconds, values, strict=True)
        )
        return list(seconds) if is_read else None

    return convert


def _error(column: Column, convert: _Converter, values: list[object]) -> InvalidInput:
    row = next(index for index, value in enumerate(values) if convert([value]) is None)
    location = (row, column.name)
    if values[row] is None:
        return InvalidInput(f"'{column.name}' is missing", location=location)
    if column.kind != "category" or not isinstance(values[row], str):
        expected = _EXPECTED.get(column.kind, "a number")
        return InvalidInput(f"'{column.name}' must be {expected}", location=location)
    known = ", ".join(column.categories[:_SHOWN_CATEGORIES])
    more = len(column.categories) - _SHOWN_CATEGORIES
    given = str(values[row])[:_SHOWN_CHARACTERS]
    return InvalidInput(
        f"'{column.name}' has no category '{given}'; known: {known}" + (f" and {more} more" if more > 0 else ""),
        location=location,
    )


def _to_float(value: object) -> float:
    try:
        return float("nan") if value is None else float(value)  # type: ignore[arg-type]  # checked by the converter
    except OverflowError:
        return float("inf")

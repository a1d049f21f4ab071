"""Encodes rows of JSON values as the numeric array that a tabular model takes, as the inputs of its card define it.

Training encodes its tables with the same code, so that both sides agree.

number, integer   the value; NaN when missing
boolean           0 or 1; NaN when missing
category          its index in `Column.categories`, or MISSING, or NONE_OF_THESE
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import NoneType

import numpy as np
from numpy.typing import NDArray

from models.card import Card, Column
from models.errors import ArtifactInvalid, InvalidInput

# Codes of a category column in addition to its indices 0, 1, ...
MISSING = -1
NONE_OF_THESE = -2

_FLOAT32_MAX = float(np.finfo(np.float32).max)
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

    def encode(self, rows: Sequence[Mapping[str, object]]) -> NDArray[np.float32]:
        """Encode N >= 1 rows as float32 (N, F), columns in the card's order. A missing key counts as null.

        Raise InvalidInput for the first error, with the location `(row, column)`. Other keys are ignored: the schema of
        the request refuses them.
        """
        return self.encode_columns([[row.get(column.name) for row in rows] for column in self._columns])

    def encode_columns(self, values: Sequence[list[object]]) -> NDArray[np.float32]:
        """Encode F columns of N values each, as `encode` does."""
        if not values or not values[0]:
            raise InvalidInput("no rows")
        encoded = []
        for column, convert, given in zip(self._columns, self._converters, values, strict=True):
            numbers = convert(given)
            if numbers is None:
                raise _error(column, convert, given)
            encoded.append(numbers)
        try:
            table = np.array(encoded, dtype=np.float64).T
        except OverflowError:  # an integer of more than 308 digits
            table = np.array([[_to_float(value) for value in numbers] for numbers in encoded]).T
        return self._to_float32(table, encoded)

    def _set_columns(self, columns: tuple[Column, ...]) -> None:
        self._columns = columns
        self._converters = [_converter(column) for column in columns]

    def _to_float32(self, table: NDArray[np.float64], encoded: list[list[object]]) -> NDArray[np.float32]:
        with np.errstate(invalid="ignore"):
            usable = np.abs(table) <= _FLOAT32_MAX
        if not usable.all():
            for row, position in np.argwhere(~usable).tolist():
                if encoded[position][row] is not None:
                    column = self._columns[position]
                    raise InvalidInput(
                        f"'{column.name}' must be a finite number of at most {_FLOAT32_MAX:.1e}",
                        location=(row, column.name),
                    )
        return np.ascontiguousarray(table, dtype=np.float32)


def _converter(column: Column) -> _Converter:
    allowed = {NoneType} if column.nullable else set()
    if column.kind == "category":
        return _category_converter(column)
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


def _error(column: Column, convert: _Converter, values: list[object]) -> InvalidInput:
    row = next(index for index, value in enumerate(values) if convert([value]) is None)
    location = (row, column.name)
    if values[row] is None:
        return InvalidInput(f"'{column.name}' is missing", location=location)
    if column.kind != "category":
        expected = {"integer": "an integer", "boolean": "true or false"}.get(column.kind, "a number")
        return InvalidInput(f"'{column.name}' must be {expected}", location=location)
    if not isinstance(values[row], str):
        return InvalidInput(f"'{column.name}' must be text", location=location)
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

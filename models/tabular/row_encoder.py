"""From rows of JSON values to the one numeric array that a tabular model takes, as its card's inputs say.

The only place where a value becomes a number: training encodes its table here too, so that both sides agree. Knows
columns, no runtime and no HTTP.

number, integer   as is; a missing one is NaN
boolean           0 or 1; a missing one is NaN
category          its index in `Column.categories`, or MISSING, or NONE_OF_THESE
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import NoneType

import numpy as np
from numpy.typing import NDArray

from models.card import Card, Column
from models.errors import ArtifactInvalid, InvalidInput

# Codes of a category column beside its indices 0, 1, ...
MISSING = -1
NONE_OF_THESE = -2

_FLOAT32_MAX = float(np.finfo(np.float32).max)
_SHOWN_CATEGORIES = 12
_SHOWN_CHARACTERS = 60

# From one column's values to values that numpy turns into numbers, or None where one of them is not acceptable.
_Convert = Callable[[list[object]], list[object] | None]


class RowEncoder:
    """Encodes rows for the model of one card. Holds no state that changes: safe in several threads."""

    def __init__(self, card: Card) -> None:
        self._set_columns(card.inputs)

    @classmethod
    def for_columns(cls, columns: Sequence[Column]) -> RowEncoder:
        """An encoder for columns that have no card yet. Raises ArtifactInvalid for a kind that is no table's."""
        encoder = cls.__new__(cls)
        encoder._set_columns(tuple(columns))
        return encoder

    def encode(self, rows: Sequence[Mapping[str, object]]) -> NDArray[np.float32]:
        """Encode N >= 1 rows as float32 (N, F), columns in the card's order. A key that is left out counts as null.

        Raises InvalidInput for the first fault, with the location `(row, column)`. Keys that are no column are not
        looked at: the request's schema refuses them.
        """
        return self.encode_columns([[row.get(column.name) for row in rows] for column in self._columns])

    def encode_columns(self, values: Sequence[list[object]]) -> NDArray[np.float32]:
        """The same from F columns of N values each."""
        if not values or not values[0]:
            raise InvalidInput("no rows")
        encoded = []
        for column, convert, given in zip(self._columns, self._converts, values, strict=True):
            numbers = convert(given)
            if numbers is None:
                raise _fault(column, convert, given)
            encoded.append(numbers)
        try:
            table = np.array(encoded, dtype=np.float64).T
        except OverflowError:  # an integer of more than 308 digits
            table = np.array([[_to_float(value) for value in numbers] for numbers in encoded]).T
        return self._checked(table, encoded)

    def _set_columns(self, columns: tuple[Column, ...]) -> None:
        self._columns = columns
        self._converts = [_convert(column) for column in columns]

    def _checked(self, table: NDArray[np.float64], encoded: list[list[object]]) -> NDArray[np.float32]:
        with np.errstate(invalid="ignore"):
            usable = np.abs(table) <= _FLOAT32_MAX
        if not usable.all():
            for row, position in np.argwhere(~usable).tolist():
                if encoded[position][row] is not None:
                    column = self._columns[position]
                    raise InvalidInput(
                        f"'{column.name}' has to be a finite number of at most {_FLOAT32_MAX:.1e}",
                        location=(row, column.name),
                    )
        return np.ascontiguousarray(table, dtype=np.float32)


def _convert(column: Column) -> _Convert:
    allowed = {NoneType} if column.nullable else set()
    if column.kind == "category":
        return _category_convert(column)
    kinds: dict[str, set[type]] = {"number": {int, float}, "integer": {int}, "boolean": {bool}}
    if column.kind not in kinds:
        raise ArtifactInvalid(f"input '{column.name}' is of kind '{column.kind}', which no table has")
    accepted = allowed | kinds[column.kind]

    def convert(values: list[object]) -> list[object] | None:
        # Exact types: a boolean is an int to isinstance, and numpy would read numbers out of text.
        return values if accepted.issuperset(map(type, values)) else None

    if column.kind != "integer":
        return convert

    def convert_integers(values: list[object]) -> list[object] | None:
        whole = all(type(value) in accepted or (type(value) is float and value.is_integer()) for value in values)
        return values if whole else None

    return lambda values: convert(values) or convert_integers(values)


def _category_convert(column: Column) -> _Convert:
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


def _fault(column: Column, convert: _Convert, values: list[object]) -> InvalidInput:
    row = next(index for index, value in enumerate(values) if convert([value]) is None)
    location = (row, column.name)
    if values[row] is None:
        return InvalidInput(f"'{column.name}' is missing", location=location)
    if column.kind != "category":
        wanted = {"integer": "an integer", "boolean": "true or false"}.get(column.kind, "a number")
        return InvalidInput(f"'{column.name}' has to be {wanted}", location=location)
    if not isinstance(values[row], str):
        return InvalidInput(f"'{column.name}' has to be text", location=location)
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

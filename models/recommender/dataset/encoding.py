"""Attributes of users and items (age, genres) as sparse columns, the same way in training and in serving."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import TypeAdapter
from scipy import sparse

from models.errors import InvalidInput
from models.recommender.dataset.dataset import csr

Value = str | int | float | bool | Sequence[str] | None


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute and the columns that it becomes.

    "category" is one of `values`; "tags" are any number of them; "number" falls into one of the bins that the inner
    borders `edges` make, the first and the last one open.
    """

    name: str
    kind: Literal["category", "tags", "number"]
    values: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        return len(self.edges) + 1 if self.kind == "number" else len(self.values)


@dataclass(frozen=True, slots=True)
class Encoder:
    """Attributes side by side. A missing value or an unknown category is no column at all."""

    attributes: tuple[Attribute, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """What each column says, such as "genre=Drama" or "age=25..35"."""
        return tuple(label for attribute in self.attributes for label in _labels(attribute))

    def encode(self, rows: Sequence[Mapping[str, Value]]) -> sparse.csr_array:
        """One row of ones per mapping, (N, columns). Raises InvalidInput for a number that is not one."""
        indices: list[int] = []
        indptr = [0]
        for row in rows:
            start = 0
            columns: set[int] = set()
            for attribute in self.attributes:
                columns.update(start + place for place in _places(attribute, row.get(attribute.name)))
                start += attribute.width
            indices += sorted(columns)
            indptr.append(len(indices))
        shape = (len(rows), sum(attribute.width for attribute in self.attributes))
        return csr(np.ones(len(indices), np.float32), np.array(indices, np.int64), np.array(indptr), shape)

    def to_json(self) -> list[dict[str, object]]:
        """A list that JSON can hold; `from_json` makes an equal encoder of it."""
        return list(_ATTRIBUTES.dump_python(self.attributes, mode="json"))

    @classmethod
    def from_json(cls, encoded: object) -> Encoder:
        """Raises pydantic.ValidationError when `encoded` is not what `to_json` gives."""
        return cls(_ATTRIBUTES.validate_python(encoded, strict=False))


_ATTRIBUTES = TypeAdapter(tuple[Attribute, ...])


def _places(attribute: Attribute, value: Value) -> list[int]:
    if value is None or value == "":
        return []
    if attribute.kind == "number":
        try:
            number = float(value)  # type: ignore[arg-type]  # a list raises TypeError, which is what is wanted
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"'{attribute.name}' must be a number") from error
        return [int(np.searchsorted(attribute.edges, number, side="right"))] if np.isfinite(number) else []
    texts = [value] if attribute.kind == "category" or isinstance(value, (str, int, float)) else list(value)
    return [attribute.values.index(str(text)) for text in texts if str(text) in attribute.values]


def _labels(attribute: Attribute) -> list[str]:
    if attribute.kind != "number":
        return [f"{attribute.name}={value}" for value in attribute.values]
    borders = ["", *(f"{edge:g}" for edge in attribute.edges), ""]
    return [f"{attribute.name}={low}..{high}" for low, high in itertools.pairwise(borders)]

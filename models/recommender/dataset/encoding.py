"""The encoding of attributes of users and items (age, genres) as sparse columns, shared by training and serving."""

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
from models.recommender.dataset.feature_value import FeatureValue


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute and its columns.

    A "category" is one of `values`; "tags" are any number of them; a "number" falls into a bin of the inner borders
    `edges`; the first and the last bin are open.
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
    """An encoder of several attributes. A missing value or an unknown category sets no column."""

    attributes: tuple[Attribute, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, such as "genre=Drama" or "age=25..35"."""
        return tuple(label for attribute in self.attributes for label in _labels(attribute))

    def encode(self, rows: Sequence[Mapping[str, FeatureValue]]) -> sparse.csr_array:
        """Encode each mapping as a row of ones, (N, columns). Raise InvalidInput for a value that is not a number."""
        indices: list[int] = []
        indptr = [0]
        for row in rows:
            start = 0
            columns: set[int] = set()
            for attribute in self.attributes:
                columns.update(start + column for column in _columns(attribute, row.get(attribute.name)))
                start += attribute.width
            indices += sorted(columns)
            indptr.append(len(indices))
        shape = (len(rows), sum(attribute.width for attribute in self.attributes))
        return csr(np.ones(len(indices), np.float32), np.array(indices, np.int64), np.array(indptr), shape)

    def to_json(self) -> list[dict[str, object]]:
        """Return the encoder as JSON, the inverse of `from_json`."""
        return list(_ATTRIBUTES.dump_python(self.attributes, mode="json"))

    @classmethod
    def from_json(cls, encoded: object) -> Encoder:
        """Create the encoder from JSON of `to_json`. Raise pydantic.ValidationError."""
        return cls(_ATTRIBUTES.validate_python(encoded, strict=False))


_ATTRIBUTES = TypeAdapter(tuple[Attribute, ...])


def _columns(attribute: Attribute, value: FeatureValue) -> list[int]:
    if value is None or value == "":
        return []
    if attribute.kind == "number":
        try:
            number = float(value)  # type: ignore[arg-type]  # a list raises TypeError, as intended
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

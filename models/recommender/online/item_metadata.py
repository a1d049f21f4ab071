"""What the feature tables say of an artifact's items, lined up by its rows: categories, years. Knows rows, no file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.dataset.dataset import csr
from models.recommender.dataset.feature_store import FeatureTable, Numbers, Words
from models.recommender.dataset.ids import IdIndex


@dataclass(frozen=True, slots=True)
class ItemMetadata:
    """What is known of the items of an artifact, one row per item of it: categories (items, C) as ones, years as NaN
    where there is none, and whether there is a row at all."""

    categories: tuple[str, ...]
    matrix: sparse.csr_array
    years: NDArray[np.float64]
    is_present: NDArray[np.bool_]

    def columns(self, names: Iterable[str]) -> NDArray[np.int64]:
        """Columns of the categories of these names, whatever their case; unknown names have none."""
        wanted = {name.casefold() for name in names}
        return np.array([i for i, name in enumerate(self.categories) if name.casefold() in wanted], np.int64)

    def having(self, names: Iterable[str]) -> NDArray[np.bool_]:
        """Which items have at least one of these categories, (items,)."""
        columns = self.columns(names)
        if not len(columns):
            return np.zeros(self.matrix.shape[0], bool)
        return np.asarray(self.matrix[:, columns].sum(axis=1) > 0).ravel()

    def of(self, row: int) -> tuple[str, ...]:
        """The categories of one item."""
        matrix = self.matrix
        return tuple(self.categories[each] for each in matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]])

    def year(self, row: int) -> int | None:
        """The year of one item."""
        return int(self.years[row]) if np.isfinite(self.years[row]) else None


def build_item_metadata(table: FeatureTable, items: IdIndex) -> ItemMetadata:
    """The facts of `items`, in their order."""
    # Without a table nothing is looked up: for a million items that would take seconds.
    known = range(len(items)) if len(table.ids) else ()
    rows = np.full(len(items), -1, np.int64)
    rows[: len(known)] = [-1 if (row := table.ids.row(items[i])) is None else row for i in known]
    category, year = table.category_column(), table.year_column()
    words = table.columns[category] if category else None
    numbers = table.columns[year] if year else None
    names: tuple[str, ...] = ()
    indices, indptr = np.empty(0, np.int32), np.zeros(len(items) + 1, np.int64)
    if isinstance(words, Words):
        names = words.known
        parts = [np.unique(words.codes[words.ends[row] : words.ends[row + 1]]) if row >= 0 else _NONE for row in rows]
        indices = np.concatenate([*parts, _NONE])
        indptr = np.concatenate(([0], np.cumsum([len(part) for part in parts], dtype=np.int64)))
    years = np.full(len(items), np.nan)
    if isinstance(numbers, Numbers):
        years[rows >= 0] = numbers.values[rows[rows >= 0]]
    ones = np.ones(len(indices), np.float32)
    return ItemMetadata(names, csr(ones, indices, indptr, (len(items), len(names))), years, rows >= 0)


_NONE: NDArray[np.int32] = np.empty(0, np.int32)

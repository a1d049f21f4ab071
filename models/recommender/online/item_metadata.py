"""Categories and years of the items of an artifact, aligned with its rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.dataset.dataset import csr
from models.recommender.dataset.feature_tables import FeatureTable, NumberColumn, TextColumn
from models.recommender.dataset.ids import IdIndex


@dataclass(frozen=True, slots=True)
class ItemMetadata:
    """Metadata with one row per item: categories (items, C) as ones, years with NaN for missing ones, and presence."""

    categories: tuple[str, ...]
    matrix: sparse.csr_array
    years: NDArray[np.float64]
    is_present: NDArray[np.bool_]

    def columns(self, names: Iterable[str]) -> NDArray[np.int64]:
        """Return the columns of the categories with these names, ignoring case and unknown names."""
        folded = {name.casefold() for name in names}
        return np.array([i for i, name in enumerate(self.categories) if name.casefold() in folded], np.int64)

    def has_any(self, names: Iterable[str]) -> NDArray[np.bool_]:
        """Return whether each item has at least one of these categories, (items,)."""
        columns = self.columns(names)
        if not len(columns):
            return np.zeros(self.matrix.shape[0], bool)
        return np.asarray(self.matrix[:, columns].sum(axis=1) > 0).ravel()

    def categories_of(self, row: int) -> tuple[str, ...]:
        """Return the categories of one item."""
        matrix = self.matrix
        return tuple(self.categories[each] for each in matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]])

    def year(self, row: int) -> int | None:
        """Return the year of one item."""
        return int(self.years[row]) if np.isfinite(self.years[row]) else None


def build_item_metadata(table: FeatureTable, items: IdIndex) -> ItemMetadata:
    """Look up the metadata of `items`, in their order."""
    # Skip the lookup without a table: for a million items it takes seconds.
    looked_up = range(len(items)) if len(table.ids) else ()
    rows = np.full(len(items), -1, np.int64)
    rows[: len(looked_up)] = [-1 if (row := table.ids.row(items[i])) is None else row for i in looked_up]
    category, year = table.category_column(), table.year_column()
    text_column = table.columns[category] if category else None
    number_column = table.columns[year] if year else None
    names: tuple[str, ...] = ()
    indices, indptr = np.empty(0, np.int32), np.zeros(len(items) + 1, np.int64)
    if isinstance(text_column, TextColumn):
        names = text_column.vocabulary
        parts = [
            np.unique(text_column.codes[text_column.ends[row] : text_column.ends[row + 1]]) if row >= 0 else _NO_CODES
            for row in rows
        ]
        indices = np.concatenate([*parts, _NO_CODES])
        indptr = np.concatenate(([0], np.cumsum([len(part) for part in parts], dtype=np.int64)))
    years = np.full(len(items), np.nan)
    if isinstance(number_column, NumberColumn):
        years[rows >= 0] = number_column.values[rows[rows >= 0]]
    ones = np.ones(len(indices), np.float32)
    return ItemMetadata(names, csr(ones, indices, indptr, (len(items), len(names))), years, rows >= 0)


_NO_CODES: NDArray[np.int32] = np.empty(0, np.int32)

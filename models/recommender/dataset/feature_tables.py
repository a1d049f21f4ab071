"""Feature tables of users and items as arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.recommender.dataset.feature_value import FeatureValue
from models.recommender.dataset.ids import IdIndex


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """A column of numbers; NaN for a missing value."""

    values: NDArray[np.float64]

    def at(self, row: int) -> FeatureValue:
        value = float(self.values[row])
        if not np.isfinite(value):
            return None
        return int(value) if value.is_integer() else value


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A column of any number of texts per row: `codes[ends[row]:ends[row + 1]]` are indices of `vocabulary`."""

    vocabulary: tuple[str, ...]
    codes: NDArray[np.int32]
    ends: NDArray[np.int64]
    is_list: bool

    def at(self, row: int) -> FeatureValue:
        texts = [self.vocabulary[code] for code in self.codes[self.ends[row] : self.ends[row + 1]].tolist()]
        if self.is_list:
            return texts
        return texts[0] if texts else None


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """Columns by name, and the row of each id."""

    ids: IdIndex
    columns: Mapping[str, NumberColumn | TextColumn]

    def values(self, key: str) -> dict[str, FeatureValue] | None:
        """Return the features of one id, None without a row."""
        row = self.ids.row(key)
        return None if row is None else {name: column.at(row) for name, column in self.columns.items()}

    def category_column(self) -> str | None:
        """Return the name of the category column: the first column of lists, else the first text column."""
        columns = {name: column for name, column in self.columns.items() if isinstance(column, TextColumn)}
        return next((name for name, column in columns.items() if column.is_list), next(iter(columns), None))

    def year_column(self) -> str | None:
        """Return the name of the year column."""
        return next(
            (name for name, each in self.columns.items() if "year" in name and isinstance(each, NumberColumn)), None
        )


EMPTY_TABLE = FeatureTable(IdIndex.of(()), {})


@dataclass(frozen=True, slots=True)
class UserGroups:
    """Groups of users. `members[g]` are user ids."""

    names: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    members: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class FeatureSnapshot:
    """All feature tables at one moment."""

    users: FeatureTable = EMPTY_TABLE
    items: FeatureTable = EMPTY_TABLE
    groups: UserGroups = field(default_factory=UserGroups)
    has_users: bool = False
    changes_at: float = math.inf
    """Unix seconds from which the first row in the future applies."""

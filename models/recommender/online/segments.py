"""Popularity among the users who share attributes, a fallback for users without items."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.dataset.dataset import Dataset

MIN_USERS = 30
_MAX_COLUMNS = 6
_CACHE_SIZE = 256


@dataclass(frozen=True, slots=True)
class Segment:
    """Users who share feature `columns`; `scores` are the shares of them with each item, float32 (items,)."""

    columns: tuple[int, ...]
    users: int
    scores: NDArray[np.float32]


class Segments:
    """The segments of the users of a data set, with a cache of the last ones."""

    def __init__(self, dataset: Dataset, *, min_users: int = MIN_USERS) -> None:
        self._dataset = dataset
        self._min_users = min_users
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[int, ...], Segment | None] = OrderedDict()
        features = dataset.user_features
        self._by_feature = None if features is None else features.T.tocsr()

    def find(self, features: sparse.csr_array) -> Segment | None:
        """Return the most specific segment with at least `min_users` users for features (1, F).

        It shares as many features as possible; among those, it has the fewest users. None when no segment is large
        enough.
        """
        columns = tuple(sorted(features.indices.tolist())[:_MAX_COLUMNS])
        if self._by_feature is None or not columns:
            return None
        with self._lock:
            if columns not in self._cache:
                self._cache[columns] = self._search(columns)
                while len(self._cache) > _CACHE_SIZE:
                    self._cache.popitem(last=False)
            return self._cache[columns]

    def _search(self, columns: tuple[int, ...]) -> Segment | None:
        members = {column: self._members(column) for column in columns}
        for size in range(len(columns), 0, -1):
            segments = [
                (subset, users)
                for subset in itertools.combinations(columns, size)
                if len(users := _intersection([members[each] for each in subset])) >= self._min_users
            ]
            if segments:
                subset, users = min(segments, key=lambda each: (len(each[1]), each[0]))
                return Segment(subset, len(users), self._popularity(users))
        return None

    def _members(self, column: int) -> NDArray[np.int64]:
        matrix = self._by_feature
        return np.asarray(matrix.indices[matrix.indptr[column] : matrix.indptr[column + 1]], np.int64)  # type: ignore[union-attr]  # called only with features

    def _popularity(self, users: NDArray[np.int64]) -> NDArray[np.float32]:
        seen = self._dataset.histories(users).indices
        return (np.bincount(seen, minlength=self._dataset.items) / len(users)).astype(np.float32)


def _intersection(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    users = parts[0]
    for part in parts[1:]:
        users = np.intersect1d(users, part, assume_unique=True)
    return users

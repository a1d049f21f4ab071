"""What people like this one like: popularity among the users who share the most attributes. Knows rows and columns."""

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
_KEPT = 256


@dataclass(frozen=True, slots=True)
class Segment:
    """Users who share feature `columns`, and the share of them who interacted with each item, float32 (items,)."""

    columns: tuple[int, ...]
    users: int
    scores: NDArray[np.float32]


class Segments:
    """Segments of the users of a data set, the last ones asked for kept."""

    def __init__(self, dataset: Dataset, *, min_users: int = MIN_USERS) -> None:
        self._dataset = dataset
        self._min_users = min_users
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, ...], Segment | None] = OrderedDict()
        features = dataset.user_features
        self._by_feature = None if features is None else features.T.tocsr()

    def find(self, features: sparse.csr_array) -> Segment | None:
        """The most special segment, of at least `min_users` users, of someone with these features (1, F).

        As many shared features as possible; of equally many, those that fewest users have. None without features that
        enough users share.
        """
        wanted = tuple(sorted(features.indices.tolist())[:_MAX_COLUMNS])
        if self._by_feature is None or not wanted:
            return None
        with self._lock:
            if wanted not in self._kept:
                self._kept[wanted] = self._search(wanted)
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            return self._kept[wanted]

    def _search(self, wanted: tuple[int, ...]) -> Segment | None:
        members = {column: self._members(column) for column in wanted}
        for size in range(len(wanted), 0, -1):
            found = [
                (columns, users)
                for columns in itertools.combinations(wanted, size)
                if len(users := _all_of([members[each] for each in columns])) >= self._min_users
            ]
            if found:
                columns, users = min(found, key=lambda each: (len(each[1]), each[0]))
                return Segment(columns, len(users), self._popularity(users))
        return None

    def _members(self, column: int) -> NDArray[np.int64]:
        matrix = self._by_feature
        return np.asarray(matrix.indices[matrix.indptr[column] : matrix.indptr[column + 1]], np.int64)  # type: ignore[union-attr]  # asked only where there is one

    def _popularity(self, users: NDArray[np.int64]) -> NDArray[np.float32]:
        seen = self._dataset.histories(users).indices
        return (np.bincount(seen, minlength=self._dataset.items) / len(users)).astype(np.float32)


def _all_of(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    users = parts[0]
    for part in parts[1:]:
        users = np.intersect1d(users, part, assume_unique=True)
    return users

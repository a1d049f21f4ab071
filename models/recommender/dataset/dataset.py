"""The data set of a recommender: a sparse matrix of interactions, and features by row and column."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.dataset.temporal_features import TemporalFeatures

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Interactions of users (rows) with items (columns), and the features of both.

    `interactions` is canonical CSR, float32, all stored weights are positive. `times` (Unix seconds, int64) and
    `ratings` (float32) are aligned with `interactions.data`. The feature matrices have one row per user or item and
    one column per feature, float32; they hold no identity columns.

    For features that change, `dated_users` and `dated_items` hold all their values, and the feature matrices hold the
    values of one moment: the last interaction of each user, and the last interaction of all for items.
    """

    interactions: sparse.csr_array
    times: NDArray[np.int64] | None = None
    ratings: NDArray[np.float32] | None = None
    user_features: sparse.csr_array | None = None
    item_features: sparse.csr_array | None = None
    dated_users: TemporalFeatures | None = None
    dated_items: TemporalFeatures | None = None

    @property
    def users(self) -> int:
        return int(self.interactions.shape[0])

    @property
    def items(self) -> int:
        return int(self.interactions.shape[1])

    @property
    def is_dated(self) -> bool:
        """Whether any features change over time."""
        return self.dated_users is not None or self.dated_items is not None

    def histories(self, user_rows: Rows) -> sparse.csr_array:
        """Return the interactions of these users, one row each."""
        return self.interactions[user_rows]

    def activity(self) -> NDArray[np.int64]:
        """Return the number of items that each user has interacted with."""
        return np.asarray(np.diff(self.interactions.indptr), np.int64)

    def newest(self) -> int:
        """Return the time of the last interaction, 0 without times."""
        return int(self.times.max()) if self.times is not None and len(self.times) else 0

    def last_times(self) -> NDArray[np.int64]:
        """Return the time of each user's last interaction; for users without one, that of the last of all."""
        last = np.full(self.users, self.newest(), np.int64)
        has_any = np.flatnonzero(self.activity() > 0)
        if self.times is not None and len(has_any):
            last[has_any] = np.maximum.reduceat(self.times, self.interactions.indptr[has_any])
        return last

    def popularity(self) -> NDArray[np.int64]:
        """Return the number of users that have interacted with each item."""
        return np.bincount(self.interactions.indices, minlength=self.items).astype(np.int64)


def from_triplets(
    users: Rows,
    items: Rows,
    *,
    shape: tuple[int, int],
    weights: NDArray[np.float32] | None = None,
    times: NDArray[np.int64] | None = None,
    ratings: NDArray[np.float32] | None = None,
    user_features: sparse.csr_array | None = None,
    item_features: sparse.csr_array | None = None,
    dated_users: TemporalFeatures | None = None,
    dated_items: TemporalFeatures | None = None,
) -> Dataset:
    """Create a data set from a row and a column (and a weight, a time, a rating) per event.

    Features are either static or dated; dated features need times. Events of the same user and item are merged: weights
    are added; time and rating are those of the latest event, or of the last one in order without times.
    """
    weights = np.ones(len(users), np.float32) if weights is None else weights.astype(np.float32)
    order = np.lexsort((np.arange(len(users)) if times is None else times, items, users))
    users, items, weights = users[order], items[order], weights[order]
    is_last = np.ones(len(users), bool)
    is_last[:-1] = (users[1:] != users[:-1]) | (items[1:] != items[:-1])
    ends = np.flatnonzero(is_last)
    starts = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
    summed = np.add.reduceat(weights, starts) if len(ends) else weights
    indptr = np.concatenate(([0], np.cumsum(np.bincount(users[ends], minlength=shape[0]))))
    interactions = csr(summed.astype(np.float32), items[ends], indptr, shape)
    return _with_current_features(
        Dataset(
            interactions=interactions,
            times=None if times is None else times[order][ends].astype(np.int64),
            ratings=None if ratings is None else ratings[order][ends].astype(np.float32),
            user_features=user_features,
            item_features=item_features,
            dated_users=dated_users,
            dated_items=dated_items,
        )
    )


def filter_interactions(dataset: Dataset, mask: NDArray[np.bool_]) -> Dataset:
    """Keep the interactions for which `mask` (aligned with the stored values) is true; the shape stays."""
    matrix = dataset.interactions
    rows = stored_rows(matrix)[mask]
    indptr = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=dataset.users))))
    return _with_current_features(
        replace(
            dataset,
            interactions=csr(matrix.data[mask], matrix.indices[mask], indptr, matrix.shape),
            times=None if dataset.times is None else dataset.times[mask],
            ratings=None if dataset.ratings is None else dataset.ratings[mask],
        )
    )


def _with_current_features(dataset: Dataset) -> Dataset:
    """Return the data set with the values of dated features at its last interactions."""
    users, items = dataset.dated_users, dataset.dated_items
    if users is not None:
        dataset = replace(dataset, user_features=users.at(dataset.last_times()))
    if items is not None:
        dataset = replace(dataset, item_features=items.at(np.full(dataset.items, dataset.newest(), np.int64)))
    return dataset


def csr(
    data: NDArray[np.generic], indices: NDArray[np.generic], indptr: NDArray[np.generic], shape: tuple[int, int]
) -> sparse.csr_array:
    """Create a canonical CSR matrix over the arrays, without a copy when their index types agree."""
    dtype = np.int32 if len(data) < 2**31 else np.int64
    matrix = sparse.csr_array(
        (data, indices.astype(dtype, copy=False), indptr.astype(dtype, copy=False)), shape=shape, copy=False
    )
    matrix.has_canonical_format = True
    return matrix


def stored_rows(matrix: sparse.csr_array) -> Rows:
    """Return the row of each stored value, aligned with `matrix.data`."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def binary(matrix: sparse.csr_array) -> sparse.csr_array:
    """Return the matrix with every stored weight set to 1."""
    return csr(np.ones(matrix.nnz, np.float32), matrix.indices, matrix.indptr, matrix.shape)


def history_of(item_rows: Rows, items: int) -> sparse.csr_array:
    """Return a history as a matrix of one row, from the columns of its items."""
    columns = np.unique(item_rows)
    return csr(np.ones(len(columns), np.float32), columns, np.array([0, len(columns)]), (1, items))

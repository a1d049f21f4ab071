"""Like items and like users: cosine between columns or rows of the interactions, kept for the k nearest.

Weightings follow `implicit.nearest_neighbours`: TF-IDF, and BM25 as Robertson and Zaragoza give it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.algorithms.base import Algorithm, Arrays, Capability, Progress, blocks
from models.recommender.algorithms.linear import contributions, similar_columns
from models.recommender.algorithms.top_k import NOTHING, Items, Scores, best
from models.recommender.dataset.dataset import Dataset, Rows, csr, stored_rows

Weighting = Literal["cosine", "tfidf", "bm25"]


@dataclass(frozen=True, slots=True)
class NeighbourParams:
    """`k`: neighbours kept. `shrink`: added to squared lengths, so that few co-occurrences count less.

    `bm25_k1` and `bm25_b` apply to `weighting="bm25"` alone.
    """

    k: int = 100
    weighting: Weighting = "cosine"
    shrink: float = 0.0
    bm25_k1: float = 1.2
    bm25_b: float = 0.75


class ItemNeighbours(Algorithm[NeighbourParams]):
    """Scores are the summed likeness of an item to those in the user's history."""

    name = "item-knn"
    params_type = NeighbourParams
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"known_users", "history", "similar_items", "explanations"}
    )

    likeness_: sparse.csr_array

    def _fit(self, dataset: Dataset, progress: Progress) -> None:
        by_item = weighted(dataset.interactions.T.tocsr(), self.params)
        self.likeness_ = nearest(by_item, by_item, self.params, progress)

    def score_histories(self, histories: sparse.csr_array) -> Scores:
        # Each item of the history spreads to its own neighbours: rows of a matrix that may be memory-mapped as it is.
        return np.asarray((histories @ self.likeness_).toarray(), np.float32)

    def similar_items(self, item_rows: Rows, n: int) -> tuple[Items, Scores]:
        likeness = self.likeness_[item_rows].toarray()
        return similar_columns(np.where(likeness > 0, likeness, -np.inf).astype(np.float32), item_rows, n)

    def explain(self, histories: sparse.csr_array, items: Items, n: int) -> tuple[Items, Scores]:
        return contributions(lambda row, column: self.likeness_[row, column], histories, items, n)

    def arrays(self) -> Arrays:
        return {"data": self.likeness_.data, "indices": self.likeness_.indices, "indptr": self.likeness_.indptr}

    def _restore(self, arrays: Arrays) -> None:
        size = self.dataset_.items
        self.likeness_ = csr(arrays["data"], arrays["indices"], arrays["indptr"], (size, size))


class UserNeighbours(Algorithm[NeighbourParams]):
    """Scores are the interactions of the users most like this one, each counted by its likeness."""

    name = "user-knn"
    params_type = NeighbourParams
    capabilities: ClassVar[frozenset[Capability]] = frozenset({"known_users", "history", "similar_users"})

    item_weights_: NDArray[np.float32]

    def _fit(self, dataset: Dataset, progress: Progress) -> None:
        self.item_weights_ = rarity(dataset.interactions, self.params.weighting)
        self._index()
        progress(1, 1)

    def _index(self) -> None:
        self._by_user = self._direction(self.dataset_.interactions)
        self._by_item = self._by_user.T.tocsr()

    def _direction(self, histories: sparse.csr_array) -> sparse.csr_array:
        scaled = csr(
            histories.data * self.item_weights_[histories.indices], histories.indices, histories.indptr, histories.shape
        )
        return normalised(scaled)

    def score(self, user_rows: Rows) -> Scores:
        return self._score(self.dataset_.histories(user_rows), user_rows)

    def score_histories(self, histories: sparse.csr_array) -> Scores:
        return self._score(histories, None)

    def _score(self, histories: sparse.csr_array, own: Rows | None) -> Scores:
        neighbours, likeness = self._nearest(histories, self.params.k, own)
        kept = (neighbours != NOTHING) & (likeness > 0)
        picks = csr(
            likeness[kept], neighbours[kept], np.concatenate(([0], np.cumsum(kept.sum(1)))), (len(kept), self._users)
        )
        return np.asarray((picks @ self.dataset_.interactions).toarray(), np.float32)

    def similar_users(self, user_rows: Rows, n: int) -> tuple[Items, Scores]:
        neighbours, likeness = self._nearest(self.dataset_.histories(user_rows), n, user_rows)
        nothing = likeness <= 0
        neighbours[nothing], likeness[nothing] = NOTHING, -np.inf
        return neighbours, likeness

    def _nearest(self, histories: sparse.csr_array, n: int, own: Rows | None) -> tuple[Items, Scores]:
        likeness = np.asarray((self._direction(histories) @ self._by_item).toarray(), np.float32)
        if own is not None:
            likeness[np.arange(len(own)), own] = -np.inf
        return best(likeness, n)

    @property
    def _users(self) -> int:
        return self.dataset_.users

    def arrays(self) -> Arrays:
        return {"item_weights": self.item_weights_}

    def _restore(self, arrays: Arrays) -> None:
        self.item_weights_ = arrays["item_weights"].astype(np.float32, copy=False)
        self._index()


def weighted(by_item: sparse.csr_array, params: NeighbourParams) -> sparse.csr_array:
    """Items by users, weighted so that the product with its transpose is the wanted likeness."""
    data, users = by_item.data.astype(np.float64), by_item.indices
    activity = np.bincount(users, minlength=by_item.shape[1])
    idf = np.log(max(1, by_item.shape[0]) + 1) - np.log1p(activity)
    if params.weighting == "tfidf":
        data = np.sqrt(data) * idf[users]
    elif params.weighting == "bm25":
        lengths = np.asarray(by_item.sum(axis=1)).ravel()
        relative = 1 - params.bm25_b + params.bm25_b * lengths / max(lengths.mean(), 1e-9)
        data = data * (params.bm25_k1 + 1) / (params.bm25_k1 * np.repeat(relative, np.diff(by_item.indptr)) + data)
        data = data * idf[users]
    return csr(data.astype(np.float32), by_item.indices, by_item.indptr, by_item.shape)


def rarity(interactions: sparse.csr_array, weighting: Weighting) -> NDArray[np.float32]:
    """How much each item says about a user: 1 for cosine, more for rare items otherwise."""
    if weighting == "cosine":
        return np.ones(interactions.shape[1], np.float32)
    counts = np.bincount(interactions.indices, minlength=interactions.shape[1])
    rare = np.log(interactions.shape[0] + 1) - np.log1p(counts)
    return np.asarray(np.maximum(rare, 1e-6), np.float32)


def nearest(
    left: sparse.csr_array, right: sparse.csr_array, params: NeighbourParams, progress: Progress
) -> sparse.csr_array:
    """The k most alike rows of `right` for each row of `left`, without the row of the same number, as CSR."""
    if params.weighting != "bm25":
        left, right = shrunk(left, params.shrink), shrunk(right, params.shrink)
    across = right.T.tocsr()
    data, indices, counts = [], [], []
    for rows in blocks(left.shape[0], right.shape[0]):
        likeness = np.asarray((left[rows] @ across).toarray(), np.float32)
        own = np.arange(rows.start, rows.stop)
        likeness[np.arange(len(own)), own] = -np.inf
        columns, found = best(likeness, params.k)
        kept = found > 0
        by_column = np.argsort(np.where(kept, columns, right.shape[0]), axis=1)
        columns, found = np.take_along_axis(columns, by_column, axis=1), np.take_along_axis(found, by_column, axis=1)
        kept = np.take_along_axis(kept, by_column, axis=1)
        data.append(found[kept])
        indices.append(columns[kept])
        counts.append(kept.sum(axis=1))
        progress(rows.stop, left.shape[0])
    indptr = np.concatenate(([0], np.cumsum(np.concatenate(counts))))
    return csr(np.concatenate(data), np.concatenate(indices), indptr, (left.shape[0], right.shape[0]))


def normalised(matrix: sparse.csr_array) -> sparse.csr_array:
    """Rows of length 1; empty rows stay empty."""
    return shrunk(matrix, 0.0)


def shrunk(matrix: sparse.csr_array, shrink: float) -> sparse.csr_array:
    """Rows divided by their length, plus the square root of `shrink`."""
    counts = np.diff(matrix.indptr)
    squares = np.zeros(matrix.shape[0])
    np.add.at(squares, stored_rows(matrix), matrix.data.astype(np.float64) ** 2)
    lengths = np.sqrt(squares + shrink)
    lengths[lengths == 0] = 1.0
    data = (matrix.data / np.repeat(lengths, counts)).astype(np.float32)
    return csr(data, matrix.indices, matrix.indptr, matrix.shape)

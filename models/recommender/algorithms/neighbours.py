"""Item and user neighbours: the cosine between columns or rows of the interactions, for the k nearest.

Weightings follow `implicit.nearest_neighbours`: TF-IDF, and BM25 by Robertson and Zaragoza.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.algorithms.base import Algorithm, Arrays, Capability, Progress, row_blocks
from models.recommender.algorithms.linear import similar_columns, top_contributions
from models.recommender.algorithms.top_k import PADDING, Items, Scores, select_top_k
from models.recommender.dataset.dataset import Dataset, Rows, csr, stored_rows

Weighting = Literal["cosine", "tfidf", "bm25"]


@dataclass(frozen=True, slots=True)
class NeighbourParams:
    """`k`: number of neighbours. `shrink`: added to squared lengths, which reduces the weight of few co-occurrences.

    `bm25_k1` and `bm25_b` apply only to `weighting="bm25"`.
    """

    k: int = 100
    weighting: Weighting = "cosine"
    shrink: float = 0.0
    bm25_k1: float = 1.2
    bm25_b: float = 0.75


class ItemNeighbours(Algorithm[NeighbourParams]):
    """Item-based scores: the sum of similarities of an item to the items of the history."""

    name = "item-knn"
    params_type = NeighbourParams
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"known_users", "history", "similar_items", "explanations"}
    )

    similarities_: sparse.csr_array

    def _fit(self, dataset: Dataset, progress: Progress) -> None:
        by_item = weigh_interactions(dataset.interactions.T.tocsr(), self.params)
        self.similarities_ = nearest_rows(by_item, by_item, self.params, progress)

    def score_histories(self, histories: sparse.csr_array) -> Scores:
        # Select rows of a matrix that may be memory-mapped.
        return np.asarray((histories @ self.similarities_).toarray(), np.float32)

    def similar_items(self, item_rows: Rows, n: int) -> tuple[Items, Scores]:
        similarities = self.similarities_[item_rows].toarray()
        similarities = np.where(similarities > 0, similarities, -np.inf).astype(np.float32)
        return similar_columns(similarities, item_rows, n)

    def explain(self, histories: sparse.csr_array, items: Items, n: int) -> tuple[Items, Scores]:
        return top_contributions(lambda row, column: self.similarities_[row, column], histories, items, n)

    def arrays(self) -> Arrays:
        return {
            "data": self.similarities_.data,
            "indices": self.similarities_.indices,
            "indptr": self.similarities_.indptr,
        }

    def _restore(self, arrays: Arrays) -> None:
        size = self.dataset_.items
        self.similarities_ = csr(arrays["data"], arrays["indices"], arrays["indptr"], (size, size))


class UserNeighbours(Algorithm[NeighbourParams]):
    """User-based scores: the interactions of the most similar users, weighted by similarity."""

    name = "user-knn"
    params_type = NeighbourParams
    capabilities: ClassVar[frozenset[Capability]] = frozenset({"known_users", "history", "similar_users"})

    item_weights_: NDArray[np.float32]

    def _fit(self, dataset: Dataset, progress: Progress) -> None:
        self.item_weights_ = item_weights(dataset.interactions, self.params.weighting)
        self._index()
        progress(1, 1)

    def _index(self) -> None:
        self._by_user = self._direction(self.dataset_.interactions)
        self._by_item = self._by_user.T.tocsr()

    def _direction(self, histories: sparse.csr_array) -> sparse.csr_array:
        scaled = csr(
            histories.data * self.item_weights_[histories.indices], histories.indices, histories.indptr, histories.shape
        )
        return normalise_rows(scaled)

    def score(self, user_rows: Rows) -> Scores:
        return self._score(self.dataset_.histories(user_rows), user_rows)

    def score_histories(self, histories: sparse.csr_array) -> Scores:
        return self._score(histories, None)

    def _score(self, histories: sparse.csr_array, own: Rows | None) -> Scores:
        neighbours, similarities = self._nearest(histories, self.params.k, own)
        is_neighbour = (neighbours != PADDING) & (similarities > 0)
        weights = csr(
            similarities[is_neighbour],
            neighbours[is_neighbour],
            np.concatenate(([0], np.cumsum(is_neighbour.sum(1)))),
            (len(is_neighbour), self._users),
        )
        return np.asarray((weights @ self.dataset_.interactions).toarray(), np.float32)

    def similar_users(self, user_rows: Rows, n: int) -> tuple[Items, Scores]:
        neighbours, similarities = self._nearest(self.dataset_.histories(user_rows), n, user_rows)
        is_unrelated = similarities <= 0
        neighbours[is_unrelated], similarities[is_unrelated] = PADDING, -np.inf
        return neighbours, similarities

    def _nearest(self, histories: sparse.csr_array, n: int, own: Rows | None) -> tuple[Items, Scores]:
        similarities = np.asarray((self._direction(histories) @ self._by_item).toarray(), np.float32)
        if own is not None:
            similarities[np.arange(len(own)), own] = -np.inf
        return select_top_k(similarities, n)

    @property
    def _users(self) -> int:
        return self.dataset_.users

    def arrays(self) -> Arrays:
        return {"item_weights": self.item_weights_}

    def _restore(self, arrays: Arrays) -> None:
        self.item_weights_ = arrays["item_weights"].astype(np.float32, copy=False)
        self._index()


def weigh_interactions(by_item: sparse.csr_array, params: NeighbourParams) -> sparse.csr_array:
    """Weight items by users, so that the product with the transpose is the similarity."""
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


def item_weights(interactions: sparse.csr_array, weighting: Weighting) -> NDArray[np.float32]:
    """Return the weight of each item: 1 for cosine, higher for rare items otherwise."""
    if weighting == "cosine":
        return np.ones(interactions.shape[1], np.float32)
    counts = np.bincount(interactions.indices, minlength=interactions.shape[1])
    rare = np.log(interactions.shape[0] + 1) - np.log1p(counts)
    return np.asarray(np.maximum(rare, 1e-6), np.float32)


def nearest_rows(
    left: sparse.csr_array, right: sparse.csr_array, params: NeighbourParams, progress: Progress
) -> sparse.csr_array:
    """Return the k most similar rows of `right` for each row of `left`, without the row of the same index, as CSR."""
    if params.weighting != "bm25":
        left, right = scale_rows(left, params.shrink), scale_rows(right, params.shrink)
    transposed = right.T.tocsr()
    data, indices, counts = [], [], []
    for rows in row_blocks(left.shape[0], right.shape[0]):
        similarities = np.asarray((left[rows] @ transposed).toarray(), np.float32)
        own = np.arange(rows.start, rows.stop)
        similarities[np.arange(len(own)), own] = -np.inf
        columns, similarities = select_top_k(similarities, params.k)
        is_neighbour = similarities > 0
        by_column = np.argsort(np.where(is_neighbour, columns, right.shape[0]), axis=1)
        columns = np.take_along_axis(columns, by_column, axis=1)
        similarities = np.take_along_axis(similarities, by_column, axis=1)
        is_neighbour = np.take_along_axis(is_neighbour, by_column, axis=1)
        data.append(similarities[is_neighbour])
        indices.append(columns[is_neighbour])
        counts.append(is_neighbour.sum(axis=1))
        progress(rows.stop, left.shape[0])
    indptr = np.concatenate(([0], np.cumsum(np.concatenate(counts))))
    return csr(np.concatenate(data), np.concatenate(indices), indptr, (left.shape[0], right.shape[0]))


def normalise_rows(matrix: sparse.csr_array) -> sparse.csr_array:
    """Normalise rows to length 1; empty rows stay empty."""
    return scale_rows(matrix, 0.0)


def scale_rows(matrix: sparse.csr_array, shrink: float) -> sparse.csr_array:
    """Divide rows by the square root of their squared length plus `shrink`."""
    counts = np.diff(matrix.indptr)
    squares = np.zeros(matrix.shape[0])
    np.add.at(squares, stored_rows(matrix), matrix.data.astype(np.float64) ** 2)
    lengths = np.sqrt(squares + shrink)
    lengths[lengths == 0] = 1.0
    data = (matrix.data / np.repeat(lengths, counts)).astype(np.float32)
    return csr(data, matrix.indices, matrix.indptr, matrix.shape)

"""Factor models: the score is the product of a user vector and an item vector. Serving needs only the arrays.

A user without a row is folded in by weighted least squares (Hu, Koren, Volinsky, "Collaborative Filtering for Implicit
Feedback Datasets", ICDM 2008).
"""

from __future__ import annotations

from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.algorithms.ann_index import ApproximateIndex
from models.recommender.algorithms.base import Algorithm, Arrays, Capability, row_blocks
from models.recommender.algorithms.linear import PairWeights, top_contributions
from models.recommender.algorithms.top_k import PADDING, Items, Scores, select_top_k
from models.recommender.algorithms.top_k_products import ExcludedItems, product_top_k
from models.recommender.dataset.dataset import Rows

P = TypeVar("P")
Matrix = NDArray[np.float32]

# For more items than this, an index query takes as long as exact search.
_MAX_INDEX_ITEMS = 1000


class Factors(Algorithm[P]):
    """score(u, i) = user_factors[u] . item_factors[i] + item_biases[i].

    Subclasses implement training. `user_factors_` is (users, d), `item_factors_` (items, d), `item_biases_` (items,),
    all float32. There is no user bias, because it does not change the order of items.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"known_users", "history", "similar_items", "similar_users", "explanations"}
    )

    fold_in_weight: ClassVar[float] = 40.0
    """The weight of an item in the history; other items have the weight 1."""
    fold_in_l2: ClassVar[float] = 1.0

    user_factors_: Matrix
    item_factors_: Matrix
    item_biases_: Matrix

    index_: ApproximateIndex | None = None
    """An approximate index of the items, for a large catalogue."""

    # Values computed once, with the array that they were computed from.
    _cached_gram: tuple[Matrix, NDArray[np.float64]] | None = None
    _cached_scales: tuple[tuple[Matrix, Matrix], ...] = ()

    def recommend(self, user_rows: Rows, n: int, *, filter_seen: bool = True) -> tuple[Items, Scores]:
        width = min(n, self.dataset_.items)
        items, scores = np.empty((len(user_rows), width), np.int64), np.empty((len(user_rows), width), np.float32)
        for rows in row_blocks(len(user_rows), self.item_factors_.shape[1]):
            seen = self.dataset_.histories(user_rows[rows])
            excluded = ExcludedItems(np.split(seen.indices, seen.indptr[1:-1])) if filter_seen else None
            vectors = self.user_factors_[user_rows[rows]]
            items[rows], scores[rows] = self._exact_top_items(vectors, n, excluded)
        return items, scores

    def top_items(self, vectors: Matrix, n: int, *, excluded: ExcludedItems | None = None) -> tuple[Items, Scores]:
        """Return the best n items for user vectors (N, d), as `select_top_k` does, without the scores of all items.

        With an index, search it for n items plus the number of excluded items. Use exact search for rows with too
        few results, and for queries with too many excluded items.
        """
        extra = 0 if excluded is None else excluded.max_per_row
        if self.index_ is None or n + extra > _MAX_INDEX_ITEMS:
            return self._exact_top_items(vectors, n, excluded)
        items, scores = self.index_.find(vectors, n + extra)
        if excluded is not None:
            excluded.mask(items, scores)
        columns, scores = select_top_k(scores, n)
        items = np.where(columns == PADDING, PADDING, np.take_along_axis(items, columns, axis=1))
        incomplete = np.flatnonzero(items[:, -1] == PADDING)
        if len(incomplete):
            remaining = None if excluded is None else excluded.for_rows(incomplete)
            items[incomplete], scores[incomplete] = self._exact_top_items(vectors[incomplete], n, remaining)
        return items, scores

    def _exact_top_items(self, vectors: Matrix, n: int, excluded: ExcludedItems | None) -> tuple[Items, Scores]:
        return product_top_k(vectors, self.item_factors_, self.item_biases_, n, excluded=excluded)

    def score(self, user_rows: Rows) -> Scores:
        return self._product(self.user_factors_[user_rows])

    def score_histories(self, histories: sparse.csr_array) -> Scores:
        return self._product(self.fold_in(histories))

    def score_features(self, user_features: sparse.csr_array) -> Scores:
        return self._product(self.feature_vectors(user_features))

    def feature_vectors(self, user_features: sparse.csr_array) -> Matrix:
        """Return vectors for users given by their features, (N, d)."""
        raise self.unsupported("user_features")

    def fold_in(self, histories: sparse.csr_array) -> Matrix:
        """Return vectors for users given by their items, (N, d)."""
        gram = self._gram()
        folded = np.zeros((histories.shape[0], self.item_factors_.shape[1]), np.float32)
        for row in range(histories.shape[0]):
            own, system = self._system(gram, histories, row)
            folded[row] = np.linalg.solve(system, self.fold_in_weight * own.sum(axis=0))
        return self._rescaled(folded)

    def explain(self, histories: sparse.csr_array, items: Items, n: int) -> tuple[Items, Scores]:
        """Return the contribution of each item of the history to the score of a folded-in user (section 5).

        For a user with a trained row, the contributions are those of folding in the same history.
        """
        gram = self._gram()
        causes, amounts = np.full((*items.shape, n), PADDING, np.int64), np.zeros((*items.shape, n), np.float32)
        for row in range(items.shape[0]):
            own, system = self._system(gram, histories, row)
            solved = np.linalg.solve(system, self.fold_in_weight * own.T)
            history = histories.indices[histories.indptr[row] : histories.indptr[row + 1]]
            # Only rows of the history and recommended columns: a full item-item matrix would not fit into memory.
            weights = np.zeros((len(history), self.item_factors_.shape[0]), np.float32)
            columns = np.unique(items[row][items[row] != PADDING])
            weights[:, columns] = (self.item_factors_[columns].astype(np.float64) @ solved).T
            top = top_contributions(_weights(history, weights), histories[[row]], items[row : row + 1], n)
            causes[row : row + 1], amounts[row : row + 1] = top
        return causes, amounts

    def _system(
        self, gram: NDArray[np.float64], histories: sparse.csr_array, row: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the vectors of the items of one history, and the matrix of its least squares problem."""
        own = self.item_factors_[histories.indices[histories.indptr[row] : histories.indptr[row + 1]]]
        own = own.astype(np.float64)
        return own, gram + (self.fold_in_weight - 1) * own.T @ own

    def similar_items(self, item_rows: Rows, n: int) -> tuple[Items, Scores]:
        return self._similar(self.item_factors_, item_rows, n)

    def similar_users(self, user_rows: Rows, n: int) -> tuple[Items, Scores]:
        return self._similar(self.user_factors_, user_rows, n)

    def arrays(self) -> Arrays:
        return {
            "user_factors": self.user_factors_,
            "item_factors": self.item_factors_,
            "item_biases": self.item_biases_,
        }

    def _restore(self, arrays: Arrays) -> None:
        self.user_factors_ = arrays["user_factors"].astype(np.float32, copy=False)
        self.item_factors_ = arrays["item_factors"].astype(np.float32, copy=False)
        self.item_biases_ = arrays["item_biases"].astype(np.float32, copy=False)

    def _product(self, vectors: Matrix) -> Scores:
        scores = vectors @ self.item_factors_.T
        scores += self.item_biases_
        return np.asarray(scores, np.float32)

    def _similar(self, vectors: Matrix, rows: Rows, n: int) -> tuple[Items, Scores]:
        """Return the rows of `vectors` with the largest cosine to each of these rows, without the row itself."""
        scales = self._scales(vectors)
        own = vectors[rows] * scales[rows][:, None]
        excluded = ExcludedItems([rows[[index]] for index in range(len(rows))])
        return product_top_k(own, vectors, np.zeros(len(vectors), np.float32), n, excluded=excluded, scales=scales)

    def _scales(self, vectors: Matrix) -> Matrix:
        """Return the factor that normalises each row to length 1; 1 for a row of zeros."""
        for source, scales in self._cached_scales:
            if source is vectors:
                return scales
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        scales = np.asarray(1 / np.where(lengths > 0, lengths, 1.0), np.float32)
        # Keep the last two, of users and of items: a replaced array is dropped.
        self._cached_scales = ((vectors, scales), *self._cached_scales[:1])
        return scales

    def _gram(self) -> NDArray[np.float64]:
        if self._cached_gram is None or self._cached_gram[0] is not self.item_factors_:
            factors = self.item_factors_
            gram = self.fold_in_l2 * np.eye(factors.shape[1])
            # In blocks: a large catalogue in float64 takes gigabytes.
            for rows in row_blocks(len(factors), 2 * factors.shape[1]):
                part = factors[rows].astype(np.float64)
                gram += part.T @ part
            self._cached_gram = (factors, gram)
        return self._cached_gram[1]

    def _rescaled(self, folded: Matrix) -> Matrix:
        """Scale vectors to the median length of user vectors, because ranking losses leave the length undetermined."""
        median_length = float(np.median(np.linalg.norm(self.user_factors_, axis=1))) if len(self.user_factors_) else 1.0
        lengths = np.linalg.norm(folded, axis=1, keepdims=True)
        return np.asarray(
            folded * np.divide(median_length, lengths, where=lengths > 0, out=np.ones_like(lengths)), np.float32
        )


def _weights(history: Rows, weights: Matrix) -> PairWeights:
    """Return the function of the weight of item `history[i]` for item j: row i and column j of `weights`."""
    index_by_item = {int(item): index for index, item in enumerate(history)}
    return lambda rows, columns: weights[[index_by_item[int(each)] for each in rows], columns]

"""Users and items as vectors whose product is the score. Serving needs the arrays alone, whatever learned them.

Someone without a row is folded in by the closed form of weighted least squares (Hu, Koren, Volinsky, "Collaborative
Filtering for Implicit Feedback Datasets", ICDM 2008): the vector that scores the
history's items high and all others low.
"""

from __future__ import annotations

from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.algorithms.ann_index import ApproximateIndex
from models.recommender.algorithms.base import Algorithm, Arrays, Capability, blocks
from models.recommender.algorithms.linear import Weights, contributions
from models.recommender.algorithms.top_k import NOTHING, Items, Scores, best
from models.recommender.algorithms.top_k_products import Hidden, best_products
from models.recommender.dataset.dataset import Rows

P = TypeVar("P")
Matrix = NDArray[np.float32]

# Asking an index for more than that costs as much as looking at everything.
_MAX_FROM_INDEX = 1000


class Factors(Algorithm[P]):
    """score(u, i) = user_factors[u] . item_factors[i] + item_biases[i].

    Subclasses learn; `user_factors_` is (users, d), `item_factors_` (items, d), `item_biases_` (items,), all float32.
    A bias per user would move all items alike and is left out.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"known_users", "history", "similar_items", "similar_users", "explanations"}
    )

    fold_in_weight: ClassVar[float] = 40.0
    """How much more an item of the history counts than one outside of it."""
    fold_in_l2: ClassVar[float] = 1.0

    user_factors_: Matrix
    item_factors_: Matrix
    item_biases_: Matrix

    index_: ApproximateIndex | None = None
    """An index of the items, where the catalogue is large enough for one."""

    # What is made once from `item_factors_`, with the array that it was made from.
    _gram_of: tuple[Matrix, NDArray[np.float64]] | None = None
    _lengths_of: tuple[tuple[Matrix, Matrix], ...] = ()

    def recommend(self, user_rows: Rows, n: int, *, filter_seen: bool = True) -> tuple[Items, Scores]:
        width = min(n, self.dataset_.items)
        items, scores = np.empty((len(user_rows), width), np.int64), np.empty((len(user_rows), width), np.float32)
        for rows in blocks(len(user_rows), self.item_factors_.shape[1]):
            seen = self.dataset_.histories(user_rows[rows])
            hidden = Hidden(np.split(seen.indices, seen.indptr[1:-1])) if filter_seen else None
            vectors = self.user_factors_[user_rows[rows]]
            items[rows], scores[rows] = self._exactly_nearest(vectors, n, hidden)
        return items, scores

    def nearest(self, vectors: Matrix, n: int, *, hidden: Hidden | None = None) -> tuple[Items, Scores]:
        """The best n items for users of these vectors (N, d), as `best` gives them; no scores of all items are made.

        By the index where there is one. It is asked for as many more as are hidden; rows that it leaves with fewer
        than n items are found exactly, and so is what hides too much to ask for.
        """
        more = 0 if hidden is None else hidden.most
        if self.index_ is None or n + more > _MAX_FROM_INDEX:
            return self._exactly_nearest(vectors, n, hidden)
        items, scores = self.index_.find(vectors, n + more)
        if hidden is not None:
            hidden.hide(items, scores)
        places, scores = best(scores, n)
        items = np.where(places == NOTHING, NOTHING, np.take_along_axis(items, places, axis=1))
        short = np.flatnonzero(items[:, -1] == NOTHING)
        if len(short):
            own = None if hidden is None else hidden.of(short)
            items[short], scores[short] = self._exactly_nearest(vectors[short], n, own)
        return items, scores

    def _exactly_nearest(self, vectors: Matrix, n: int, hidden: Hidden | None) -> tuple[Items, Scores]:
        return best_products(vectors, self.item_factors_, self.item_biases_, n, hidden=hidden)

    def score(self, user_rows: Rows) -> Scores:
        return self._product(self.user_factors_[user_rows])

    def score_histories(self, histories: sparse.csr_array) -> Scores:
        return self._product(self.fold_in(histories))

    def score_features(self, user_features: sparse.csr_array) -> Scores:
        return self._product(self.feature_vectors(user_features))

    def feature_vectors(self, user_features: sparse.csr_array) -> Matrix:
        """Vectors for users known by their features alone, (N, d)."""
        raise self.cannot("user_features")

    def fold_in(self, histories: sparse.csr_array) -> Matrix:
        """Vectors for users known by their items alone, (N, d)."""
        gram = self._gram()
        folded = np.zeros((histories.shape[0], self.item_factors_.shape[1]), np.float32)
        for row in range(histories.shape[0]):
            own, system = self._system(gram, histories, row)
            folded[row] = np.linalg.solve(system, self.fold_in_weight * own.sum(axis=0))
        return self._rescaled(folded)

    def explain(self, histories: sparse.csr_array, items: Items, n: int) -> tuple[Items, Scores]:
        """What each item of the history adds to the score of a folded-in user (Hu, Koren, Volinsky, section 5).

        For a user who has a learned row it is what the same history would have said.
        """
        gram = self._gram()
        causes, amounts = np.full((*items.shape, n), NOTHING, np.int64), np.zeros((*items.shape, n), np.float32)
        for row in range(items.shape[0]):
            own, system = self._system(gram, histories, row)
            solved = np.linalg.solve(system, self.fold_in_weight * own.T)
            history = histories.indices[histories.indptr[row] : histories.indptr[row + 1]]
            # Rows and columns of the history only: a matrix of all items by all items would not fit.
            spoken = np.zeros((len(history), self.item_factors_.shape[0]), np.float32)
            wanted = np.unique(items[row][items[row] != NOTHING])
            spoken[:, wanted] = (self.item_factors_[wanted].astype(np.float64) @ solved).T
            found = contributions(_weights(history, spoken), histories[[row]], items[row : row + 1], n)
            causes[row : row + 1], amounts[row : row + 1] = found
        return causes, amounts

    def _system(
        self, gram: NDArray[np.float64], histories: sparse.csr_array, row: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The vectors of one history's items, and the matrix of its least squares."""
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
        """The rows of `vectors` with the largest cosine to each of these, without itself."""
        scales = self._scales(vectors)
        own = vectors[rows] * scales[rows][:, None]
        itself = Hidden([rows[[place]] for place in range(len(rows))])
        return best_products(own, vectors, np.zeros(len(vectors), np.float32), n, hidden=itself, scales=scales)

    def _scales(self, vectors: Matrix) -> Matrix:
        """What makes each row one of length 1; 1 for a row of zeros."""
        for made_from, scales in self._lengths_of:
            if made_from is vectors:
                return scales
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        scales = np.asarray(1 / np.where(lengths > 0, lengths, 1.0), np.float32)
        # Of users and of items, the newest first: an array that was replaced drops out.
        self._lengths_of = ((vectors, scales), *self._lengths_of[:1])
        return scales

    def _gram(self) -> NDArray[np.float64]:
        if self._gram_of is None or self._gram_of[0] is not self.item_factors_:
            factors = self.item_factors_
            gram = self.fold_in_l2 * np.eye(factors.shape[1])
            # In parts: all of a large catalogue in float64 would be gigabytes.
            for rows in blocks(len(factors), 2 * factors.shape[1]):
                part = factors[rows].astype(np.float64)
                gram += part.T @ part
            self._gram_of = (factors, gram)
        return self._gram_of[1]

    def _rescaled(self, folded: Matrix) -> Matrix:
        """Ranking losses leave the length of a vector open, but weigh it against the biases: use the usual length."""
        usual = float(np.median(np.linalg.norm(self.user_factors_, axis=1))) if len(self.user_factors_) else 1.0
        lengths = np.linalg.norm(folded, axis=1, keepdims=True)
        return np.asarray(folded * np.divide(usual, lengths, where=lengths > 0, out=np.ones_like(lengths)), np.float32)


def _weights(history: Rows, spoken: Matrix) -> Weights:
    """What item `history[i]` adds to the score of item j, from row i and column j of `spoken`."""
    place = {int(item): index for index, item in enumerate(history)}
    return lambda rows, columns: spoken[[place[int(each)] for each in rows], columns]

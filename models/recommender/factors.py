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

from models.recommender.base import Algorithm, Arrays, Capability
from models.recommender.dataset import Rows
from models.recommender.linear import Weights, contributions, similar_columns
from models.recommender.selection import NOTHING, Items, Scores

P = TypeVar("P")
Matrix = NDArray[np.float32]


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

    def score(self, user_rows: Rows) -> Scores:
        return self._product(self.user_factors_[user_rows])

    def score_histories(self, histories: sparse.csr_array) -> Scores:
        return self._product(self.fold_in(histories))

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
        return similar_columns(_cosines(self.item_factors_, item_rows), item_rows, n)

    def similar_users(self, user_rows: Rows, n: int) -> tuple[Items, Scores]:
        return similar_columns(_cosines(self.user_factors_, user_rows), user_rows, n)

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

    def _gram(self) -> NDArray[np.float64]:
        factors = self.item_factors_.astype(np.float64)
        return np.asarray(factors.T @ factors + self.fold_in_l2 * np.eye(factors.shape[1]))

    def _rescaled(self, folded: Matrix) -> Matrix:
        """Ranking losses leave the length of a vector open, but weigh it against the biases: use the usual length."""
        usual = float(np.median(np.linalg.norm(self.user_factors_, axis=1))) if len(self.user_factors_) else 1.0
        lengths = np.linalg.norm(folded, axis=1, keepdims=True)
        return np.asarray(folded * np.divide(usual, lengths, where=lengths > 0, out=np.ones_like(lengths)), np.float32)


def _weights(history: Rows, spoken: Matrix) -> Weights:
    """What item `history[i]` adds to the score of item j, from row i and column j of `spoken`."""
    place = {int(item): index for index, item in enumerate(history)}
    return lambda rows, columns: spoken[[place[int(each)] for each in rows], columns]


def _cosines(vectors: Matrix, rows: Rows) -> Matrix:
    lengths = np.linalg.norm(vectors, axis=1)
    lengths = np.where(lengths > 0, lengths, 1.0)
    return np.asarray((vectors[rows] @ vectors.T) / lengths[None, :] / lengths[rows][:, None], np.float32)

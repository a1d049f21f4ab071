"""Similar items and explanations for models whose score is a sum over the items of the user."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.algorithms.top_k import PADDING, Items, Scores, select_top_k
from models.recommender.dataset.dataset import Rows

PairWeights = Callable[[Rows, Rows], NDArray[np.float32]]


def similar_columns(similarities: NDArray[np.float32], own: Rows, n: int) -> tuple[Items, Scores]:
    """Return the n best columns of each row of `similarities`, (N, items), without column `own[i]` of row i."""
    similarities = np.array(similarities, np.float32)
    similarities[np.arange(len(own)), own] = -np.inf
    return select_top_k(similarities, n)


def top_contributions(weights: PairWeights, histories: sparse.csr_array, items: Items, n: int) -> tuple[Items, Scores]:
    """Return for each recommended item the n items of the history with the largest weight for it.

    `weights(rows, columns)` returns the weight of item `rows[i]` for item `columns[i]`. `items` is (N, K), padded
    with -1; both results are (N, K, n). Only positive weights count.
    """
    causes = np.full((*items.shape, n), PADDING, np.int64)
    amounts = np.zeros((*items.shape, n), np.float32)
    for user in range(items.shape[0]):
        history = histories.indices[histories.indptr[user] : histories.indptr[user + 1]].astype(np.int64)
        for position, item in enumerate(items[user]):
            if item == PADDING or not len(history):
                continue
            item_weights = np.asarray(weights(history, np.full(len(history), item)), np.float32).ravel()
            top, top_amounts = select_top_k(
                np.where((item_weights > 0) & (history != item), item_weights, -np.inf)[None, :], n
            )
            is_cause = top[0] != PADDING
            causes[user, position, : is_cause.sum()] = history[top[0][is_cause]]
            amounts[user, position, : is_cause.sum()] = top_amounts[0][is_cause]
    return causes, amounts

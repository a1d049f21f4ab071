"""What all models share whose score is a sum over the user's items: likeness of items, and who spoke for what."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.algorithms.top_k import NOTHING, Items, Scores, best
from models.recommender.dataset.dataset import Rows

Weights = Callable[[Rows, Rows], NDArray[np.float32]]


def similar_columns(likeness: NDArray[np.float32], own: Rows, n: int) -> tuple[Items, Scores]:
    """The n best columns of each row of `likeness`, (N, items), without the column `own[i]` of row i."""
    likeness = np.array(likeness, np.float32)
    likeness[np.arange(len(own)), own] = -np.inf
    return best(likeness, n)


def contributions(weights: Weights, histories: sparse.csr_array, items: Items, n: int) -> tuple[Items, Scores]:
    """For each recommended item, the n items of the history whose weight towards it is largest.

    `weights(rows, columns)` gives the weight of item `rows[i]` towards item `columns[i]`. `items` is (N, K), -1 for
    none; both results are (N, K, n). Only weights above zero speak for an item.
    """
    causes = np.full((*items.shape, n), NOTHING, np.int64)
    amounts = np.zeros((*items.shape, n), np.float32)
    for user in range(items.shape[0]):
        history = histories.indices[histories.indptr[user] : histories.indptr[user + 1]].astype(np.int64)
        for place, item in enumerate(items[user]):
            if item == NOTHING or not len(history):
                continue
            spoken = np.asarray(weights(history, np.full(len(history), item)), np.float32).ravel()
            found, amount = best(np.where((spoken > 0) & (history != item), spoken, -np.inf)[None, :], n)
            kept = found[0] != NOTHING
            causes[user, place, : kept.sum()] = history[found[0][kept]]
            amounts[user, place, : kept.sum()] = amount[0][kept]
    return causes, amounts

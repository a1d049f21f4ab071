"""Ranking metrics over recommended and relevant items.

Every interaction in the test part is relevant. Means are over users with at least one relevant item.

    p@k     hits among the first k, divided by k
    r@k     hits among the first k, divided by all of the user's relevant items
    ndcg@k  sum of 1 / log2(1 + rank) over hits, divided by the same sum for a perfect first k
    map@k   precision at the rank of each hit, summed, divided by all of the user's relevant items

Precision, recall and nDCG follow Järvelin and Kekäläinen (2002) with binary gain; MAP follows the benchmark of
recommenders-team.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.dataset.dataset import stored_rows

Values = NDArray[np.float64]
Items = NDArray[np.int64]

K = 10


def hits(recommended: Items, relevant: sparse.csr_array) -> NDArray[np.bool_]:
    """Return which recommended items, (N, k) with -1 for an empty place, are in the same row of `relevant`,
    (N, items)."""
    rows = np.repeat(np.arange(recommended.shape[0]), recommended.shape[1])
    columns = recommended.ravel()
    width = np.int64(relevant.shape[1])
    relevant_keys = stored_rows(relevant) * width + relevant.indices
    is_hit = np.isin(rows * width + columns, relevant_keys, assume_unique=False) & (columns >= 0)
    return np.asarray(is_hit.reshape(recommended.shape))


def per_user(recommended: Items, relevant: sparse.csr_array, k: int = K) -> dict[str, Values]:
    """Return each metric for each user, (N,). Users without relevant items have NaN."""
    hit = np.zeros((recommended.shape[0], k))
    hit[:, : recommended.shape[1]] = hits(recommended[:, :k], relevant)
    counts = np.diff(relevant.indptr).astype(np.float64)
    counts[counts == 0] = np.nan
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate(([np.nan], np.cumsum(discounts)))[np.minimum(np.nan_to_num(counts), k).astype(int)]
    precisions = np.cumsum(hit, axis=1) / np.arange(1, k + 1)
    return {
        f"p@{k}": np.where(np.isnan(counts), np.nan, hit.mean(axis=1)),
        f"r@{k}": hit.sum(axis=1) / counts,
        f"ndcg@{k}": (hit @ discounts) / ideal,
        f"map@{k}": (hit * precisions).sum(axis=1) / counts,
    }


def means(values: Mapping[str, Values], users: NDArray[np.bool_] | None = None) -> dict[str, float]:
    """Return the mean of each metric over the selected users that have one; empty when no such user exists."""
    averages = {}
    for name, metric in values.items():
        selected = metric[~np.isnan(metric)] if users is None else metric[users & ~np.isnan(metric)]
        if len(selected):
            averages[name] = float(selected.mean())
    return averages


def coverage(recommended: Items, items: int) -> float:
    """Return the share of the catalogue that is recommended to at least one user."""
    return float(len(np.unique(recommended[recommended >= 0])) / max(1, items))


def diversity(recommended: Items, directions: sparse.csr_array) -> float:
    """Return 1 - the mean cosine of the pairs of items in one list, averaged over lists of at least two items.

    `directions` has a row of length 1, or of zeros, per item, (items, features) (Ziegler et al., WWW 2005).
    """
    rows, places = np.nonzero(recommended >= 0)
    items = recommended[rows, places]
    counts = np.bincount(rows, minlength=len(recommended))
    membership = sparse.csr_array((np.ones(len(rows)), (rows, items)), shape=(len(recommended), directions.shape[0]))
    # The cosines of all pairs, an item with itself included, add up to the squared length of the sum of directions.
    all_pairs = _squared_lengths(membership @ directions)
    own_pairs = membership @ _squared_lengths(directions)
    pairs = counts * (counts - 1)
    has_pairs = pairs > 0
    if not has_pairs.any():
        return 0.0
    return float(np.mean(1 - (all_pairs - own_pairs)[has_pairs] / pairs[has_pairs]))


def novelty(recommended: Items, popularity: NDArray[np.int64], users: int) -> float:
    """Return the mean of -log2(share of users who have interacted with the item) over recommended items, in bits.

    An item without interactions counts as an item with one (Zhou et al., 2010).
    """
    shown = recommended[recommended >= 0]
    if not len(shown):
        return 0.0
    return float(-np.log2(np.maximum(popularity[shown], 1) / max(1, users)).mean())


def _squared_lengths(rows: sparse.csr_array) -> Values:
    return np.asarray(rows.multiply(rows).sum(axis=1), np.float64).ravel()

"""How good a ranking is. Knows recommended and relevant items, never what recommended them.

Every interaction in the test part is relevant. Means are over users with at least one relevant item.

    p@k     hits among the first k, divided by k
    r@k     hits among the first k, divided by all of the user's relevant items
    ndcg@k  sum of 1 / log2(1 + place) over hits, divided by the same sum for a perfect first k
    map@k   precision at the place of each hit, summed, divided by all of the user's relevant items

P, R and nDCG as in Järvelin and Kekäläinen (2002) with binary gain; MAP as in recommenders-team's benchmark.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.dataset.dataset import stored_rows

Matrix = NDArray[np.float64]
Items = NDArray[np.int64]

K = 10


def hits(recommended: Items, relevant: sparse.csr_array) -> NDArray[np.bool_]:
    """Which recommended items, (N, k) with -1 for none, are in the same row of `relevant`, (N, items)."""
    rows = np.repeat(np.arange(recommended.shape[0]), recommended.shape[1])
    columns = recommended.ravel()
    width = np.int64(relevant.shape[1])
    wanted = stored_rows(relevant) * width + relevant.indices
    found = np.isin(rows * width + columns, wanted, assume_unique=False) & (columns >= 0)
    return np.asarray(found.reshape(recommended.shape))


def per_user(recommended: Items, relevant: sparse.csr_array, k: int = K) -> dict[str, Matrix]:
    """Each metric for each user, (N,); NaN where nothing is relevant."""
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


def means(values: Mapping[str, Matrix], users: NDArray[np.bool_] | None = None) -> dict[str, float]:
    """Mean of each metric over the chosen users that have one; empty when there is no such user."""
    averaged = {}
    for name, each in values.items():
        kept = each[~np.isnan(each)] if users is None else each[users & ~np.isnan(each)]
        if len(kept):
            averaged[name] = float(kept.mean())
    return averaged


def coverage(recommended: Items, items: int) -> float:
    """Share of the catalogue that is recommended to anyone."""
    return float(len(np.unique(recommended[recommended >= 0])) / max(1, items))


def diversity(recommended: Items, directions: sparse.csr_array) -> float:
    """How unlike the items of one list are: 1 - the mean cosine of their pairs, averaged over lists of at least two.

    `directions` has a row of length 1, or of zeros, per item, (items, features) (Ziegler et al., WWW 2005).
    """
    unlike = []
    for row in recommended:
        shown = directions[row[row >= 0]]
        count = shown.shape[0]
        if count > 1:
            likeness = (shown @ shown.T).toarray()
            unlike.append(1 - float(likeness.sum() - likeness.trace()) / (count * (count - 1)))
    return float(np.mean(unlike)) if unlike else 0.0


def novelty(recommended: Items, popularity: NDArray[np.int64], users: int) -> float:
    """Mean of -log2(share of users who have interacted with the item) over all recommended items, in bits.

    An item that nobody has interacted with counts as one that one user has (Zhou et al., 2010).
    """
    shown = recommended[recommended >= 0]
    if not len(shown):
        return 0.0
    return float(-np.log2(np.maximum(popularity[shown], 1) / max(1, users)).mean())

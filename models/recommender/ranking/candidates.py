"""Candidate generation of a two-stage recommender, from the scores of several retrievers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.algorithms.top_k import Scores
from models.recommender.dataset.dataset import stored_rows
from models.recommender.ranking.features import FEATURE_NAMES, RankingFeatures

Floats = NDArray[np.float32]
Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]

BLEND = "blend"


def feature_names(retrievers: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the feature columns."""
    return (*retrievers, *(f"{name}_place" for name in retrievers), BLEND, *FEATURE_NAMES)


def monotone_constraints(retrievers: tuple[str, ...]) -> tuple[int, ...]:
    """Return for each feature 1 when the ranker must be monotonically increasing in it, else 0.

    A better rank or score of a retriever must not lower the score of the ranker.
    """
    return (*(1,) * (2 * len(retrievers) + 1), *(0,) * len(FEATURE_NAMES))


def rank_items(scores: Scores, seen: sparse.csr_array, *, ranks_seen: bool = True) -> Floats:
    """Return the rank of each item among the user's unseen items, from 1, (N, items); ties by column.

    A seen item gets the rank that it would have as an unseen one; without `ranks_seen`, one after them.
    """
    masked = -scores
    masked[stored_rows(seen), seen.indices] = np.inf
    order = _stable_argsort(masked)
    ranks = np.empty(scores.shape, np.float32)
    np.put_along_axis(ranks, order, np.arange(1, scores.shape[1] + 1, dtype=np.float32)[None, :], axis=1)
    for row in range(len(scores)) if ranks_seen else ():
        own = seen.indices[seen.indptr[row] : seen.indptr[row + 1]]
        ascending = masked[row, order[row, : scores.shape[1] - len(own)]]
        ranks[row, own] = 1 + np.searchsorted(ascending, -scores[row, own])
    return ranks


def _stable_argsort(values: Floats) -> NDArray[np.int64]:
    """Return a stable argsort of each row, ten times faster than `np.argsort`.

    numpy sorts integers with vector instructions (`python -m tests.measure.arrays`, AVX-512). Each key holds the bits
    of the float32, mapped to an integer of the same order, then the column.
    """
    bits = (values + np.float32(0)).view(np.uint32)  # the sum maps -0 to 0
    ascending = bits ^ ((bits.view(np.int32) >> 31).view(np.uint32) | np.uint32(1 << 31))
    keys = (ascending.astype(np.uint64) << np.uint64(32)) | np.arange(values.shape[1], dtype=np.uint64)
    keys.sort(axis=1)
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)


def standardise_rows(scores: Scores) -> Floats:
    """Standardise each row to mean 0 and deviation 1."""
    deviation = scores.std(axis=1, keepdims=True)
    return np.asarray((scores - scores.mean(axis=1, keepdims=True)) / np.where(deviation > 0, deviation, 1), np.float32)


def standardise_within_rows(values: Floats, rows: NDArray[np.int64], count: int, counted: NDArray[np.bool_]) -> Floats:
    """Standardise values (pairs,) within each row, by the mean and deviation of those in the mask `counted`."""
    inside = np.where(counted, values, 0)
    sizes = np.maximum(np.bincount(rows, counted, minlength=count), 1)
    centred = values - (np.bincount(rows, inside, minlength=count) / sizes)[rows]
    deviation = np.sqrt(np.bincount(rows, np.where(counted, centred, 0) ** 2, minlength=count) / sizes)
    return np.asarray(centred / np.where(deviation > 0, deviation, 1)[rows], np.float32)


class RetrieverScores:
    """Scores and ranks of all items by the retrievers, for some users.

    `scores` are (N, items) by retriever, `seen` the items of the users, `as_of` the moment of each user (Unix seconds).
    With `hides_seen` no seen item is a candidate, and its ranks are undefined.
    """

    def __init__(
        self,
        scores: Mapping[str, Scores],
        seen: sparse.csr_array,
        as_of: NDArray[np.int64],
        weights: Mapping[str, float],
        *,
        hides_seen: bool = False,
    ) -> None:
        self._scores = scores
        self._seen = seen
        self._as_of = as_of
        self._hides_seen = hides_seen
        self._log_ranks = {
            name: np.log1p(rank_items(each, seen, ranks_seen=not hides_seen)) for name, each in scores.items()
        }
        total = sum(weights[name] * each for name, each in self._log_ranks.items())
        self.blend: Floats = np.asarray(-total / sum(weights.values()), np.float32)
        """The combined score: minus the weighted mean of the logarithms of ranks, (N, items)."""

    def pairs(self, count: int) -> Pairs:
        """Return rows and items with at least the score of the `count`-th best unseen item, sorted by row."""
        masked = np.array(self.blend)
        masked[stored_rows(self._seen), self._seen.indices] = -np.inf
        limit = min(count, masked.shape[1])
        border = np.partition(masked, -limit, axis=1)[:, -limit]
        border = np.where(np.isneginf(border), -np.finfo(np.float32).max, border)
        rows, items = np.nonzero((masked if self._hides_seen else self.blend) >= border[:, None])
        return rows, items

    def is_unseen(self, pairs: Pairs) -> NDArray[np.bool_]:
        """Return whether the item of each pair is unseen by the user, (pairs,)."""
        if self._hides_seen:
            return np.ones(len(pairs[0]), bool)
        width = np.int64(self._seen.shape[1])
        return np.isin(pairs[0] * width + pairs[1], stored_rows(self._seen) * width + self._seen.indices, invert=True)

    def features(self, ranking_features: RankingFeatures, pairs: Pairs, users: NDArray[np.int64] | None) -> Floats:
        """Return the input of the ranker for each pair, (pairs, features); `feature_names` names the columns."""
        columns = [standardise_rows(each)[pairs] for each in self._scores.values()]
        columns += [-each[pairs] for each in self._log_ranks.values()]
        columns.append(self.blend[pairs])
        item_features = ranking_features.compute(self._seen, self._as_of, pairs, users)
        return np.concatenate([np.stack(columns, axis=1), item_features], axis=1, dtype=np.float32)

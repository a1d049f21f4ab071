"""Candidates of a two-level recommender: where retrievers place items, and which items are worth a ranker's look.

Knows scores and places, no fact about an item.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.algorithms.top_k import Scores
from models.recommender.dataset.dataset import stored_rows
from models.recommender.ranking.features import FACTS, RankingFeatures

Floats = NDArray[np.float32]
Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]

BLEND = "blend"


def names(retrievers: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the features' columns."""
    return (*retrievers, *(f"{name}_place" for name in retrievers), BLEND, *FACTS)


def directions(retrievers: tuple[str, ...]) -> tuple[int, ...]:
    """For each feature whether a ranker may only rise (1) with it, or is free (0).

    A better place or score from a retriever must not count against an item.
    """
    return (*(1,) * (2 * len(retrievers) + 1), *(0,) * len(FACTS))


def places(scores: Scores, seen: sparse.csr_array, *, ranks_seen: bool = True) -> Floats:
    """Place of each item among the user's unseen ones, best 1, (N, items); equal scores by column.

    A seen item gets the place that it would have; where nobody asks for it, any one below the unseen.
    """
    open_ = -scores
    open_[stored_rows(seen), seen.indices] = np.inf
    order = _order(open_)
    found = np.empty(scores.shape, np.float32)
    np.put_along_axis(found, order, np.arange(1, scores.shape[1] + 1, dtype=np.float32)[None, :], axis=1)
    for row in range(len(scores)) if ranks_seen else ():
        own = seen.indices[seen.indptr[row] : seen.indptr[row + 1]]
        ascending = open_[row, order[row, : scores.shape[1] - len(own)]]
        found[row, own] = 1 + np.searchsorted(ascending, -scores[row, own])
    return found


def _order(values: Floats) -> NDArray[np.int64]:
    """Columns of each row by ascending value, equal ones by column: a stable argsort, in a tenth of its time.

    numpy sorts whole numbers with vector instructions (`python -m tests.measure.arrays`, AVX-512). So value and
    column become one: the bits of a float32, turned so that they ascend as the value does, above the column.
    """
    bits = (values + np.float32(0)).view(np.uint32)  # the sum makes -0 and 0 one
    ascending = bits ^ ((bits.view(np.int32) >> 31).view(np.uint32) | np.uint32(1 << 31))
    keys = (ascending.astype(np.uint64) << np.uint64(32)) | np.arange(values.shape[1], dtype=np.uint64)
    keys.sort(axis=1)
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)


def standard(scores: Scores) -> Floats:
    """Rows of mean 0 and deviation 1."""
    deviation = scores.std(axis=1, keepdims=True)
    return np.asarray((scores - scores.mean(axis=1, keepdims=True)) / np.where(deviation > 0, deviation, 1), np.float32)


def standard_within(values: Floats, rows: NDArray[np.int64], count: int, counted: NDArray[np.bool_]) -> Floats:
    """Values (pairs,) moved and scaled so that those `counted` have mean 0 and deviation 1 within each of the rows."""
    inside = np.where(counted, values, 0)
    sizes = np.maximum(np.bincount(rows, counted, minlength=count), 1)
    centred = values - (np.bincount(rows, inside, minlength=count) / sizes)[rows]
    deviation = np.sqrt(np.bincount(rows, np.where(counted, centred, 0) ** 2, minlength=count) / sizes)
    return np.asarray(centred / np.where(deviation > 0, deviation, 1)[rows], np.float32)


class View:
    """How the retrievers see all items for some users.

    `scores` are (N, items) by retriever, `seen` the users' items, `as_of` the moment of each user in Unix seconds. With
    `hides_seen` no seen item is a candidate, and their places mean nothing.
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
        self._places = {name: np.log1p(places(each, seen, ranks_seen=not hides_seen)) for name, each in scores.items()}
        total = sum(weights[name] * each for name, each in self._places.items())
        self.blend: Floats = np.asarray(-total / sum(weights.values()), np.float32)
        """One order out of several: minus the weighted mean of the logarithms of places, (N, items)."""

    def pairs(self, count: int) -> Pairs:
        """Rows and items at or above the place of the `count`-th best unseen item of the row, sorted by row."""
        open_ = np.array(self.blend)
        open_[stored_rows(self._seen), self._seen.indices] = -np.inf
        kept = min(count, open_.shape[1])
        border = np.partition(open_, -kept, axis=1)[:, -kept]
        border = np.where(np.isneginf(border), -np.finfo(np.float32).max, border)
        rows, items = np.nonzero((open_ if self._hides_seen else self.blend) >= border[:, None])
        return rows, items

    def is_unseen(self, pairs: Pairs) -> NDArray[np.bool_]:
        """Which pairs are of an item that the user has not seen, (pairs,)."""
        if self._hides_seen:
            return np.ones(len(pairs[0]), bool)
        width = np.int64(self._seen.shape[1])
        return np.isin(pairs[0] * width + pairs[1], stored_rows(self._seen) * width + self._seen.indices, invert=True)

    def features(self, facts: RankingFeatures, pairs: Pairs, users: NDArray[np.int64] | None) -> Floats:
        """What a ranker is told of each pair, (pairs, features); the columns have `names`."""
        columns = [standard(each)[pairs] for each in self._scores.values()]
        columns += [-each[pairs] for each in self._places.values()]
        columns.append(self.blend[pairs])
        told = facts.of(self._seen, self._as_of, pairs, users)
        return np.concatenate([np.stack(columns, axis=1), told], axis=1, dtype=np.float32)

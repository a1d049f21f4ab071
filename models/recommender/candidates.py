"""Candidates of a two-level recommender and what is known of each: how the retrievers see it, and facts about it.

Facts are as of the user's last interaction, and use nothing that happened later: what was not known then must not
help a ranker in training, since it is not known when serving.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.content import item_directions
from models.recommender.dataset import Dataset, binary
from models.recommender.neighbours import normalised
from models.recommender.selection import Scores

Floats = NDArray[np.float32]

FACTS = ("blend", "popularity", "recent_popularity", "item_rating", "affinity", "activity")
# What must not count against an item: a better place or score from a retriever. 0 is "either way".
_FACT_DIRECTIONS = (1, 0, 0, 0, 0, 0)
_WINDOW_S = 30 * 86_400
_PRIOR_RATINGS = 5


@dataclass(frozen=True, slots=True)
class Candidates:
    """Pairs of a row of the question and an item, sorted by row, with features, (pairs, features)."""

    rows: NDArray[np.int64]
    items: NDArray[np.int64]
    features: Floats


def names(retrievers: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the features' columns."""
    return (*retrievers, *(f"{name} place" for name in retrievers), *FACTS)


def directions(retrievers: tuple[str, ...]) -> tuple[int, ...]:
    """For each feature whether a ranker may only rise (1) with it, or is free (0)."""
    return (1,) * (2 * len(retrievers)) + _FACT_DIRECTIONS


def places(scores: Scores, seen: sparse.csr_array) -> Floats:
    """Place of each item among the user's unseen ones, best 1, (N, items). A seen item gets the place it would have."""
    found = np.empty(scores.shape, np.float32)
    for row in range(len(scores)):
        unseen = np.delete(scores[row], seen.indices[seen.indptr[row] : seen.indptr[row + 1]])
        unseen.sort()
        found[row] = 1 + len(unseen) - np.searchsorted(unseen, scores[row], side="right")
    return found


def blended(ranked: Mapping[str, Floats]) -> Floats:
    """One order out of several: minus the mean logarithm of the places, (N, items)."""
    total = sum(np.log1p(each) for each in ranked.values())
    return np.asarray(-total / max(1, len(ranked)), np.float32)


def standard(scores: Scores) -> Floats:
    """Rows of mean 0 and deviation 1."""
    deviation = scores.std(axis=1, keepdims=True)
    return np.asarray((scores - scores.mean(axis=1, keepdims=True)) / np.where(deviation > 0, deviation, 1), np.float32)


class Facts:
    """What a data set tells of its items at any time. Small: arrays over items, and the times of interactions."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._popularity = np.log1p(dataset.popularity()).astype(np.float32)
        self._ratings = _mean_ratings(dataset)
        self._directions = item_directions(dataset)
        self._times, self._starts = _times_by_item(dataset)

    def of(self, histories: sparse.csr_array, as_of: NDArray[np.int64], pairs: tuple[NDArray[np.int64], ...]) -> Floats:
        """All of FACTS but "blend" for pairs of rows of `histories` and items, (pairs, FACTS - 1).

        `as_of` is the time of each row's last interaction, in Unix seconds.
        """
        rows, items = pairs
        profiles = normalised(sparse.csr_array(binary(histories) @ self._directions))
        affinity = np.asarray(profiles[rows].multiply(self._directions[items]).sum(axis=1)).ravel()
        activity = np.log1p(np.diff(histories.indptr))[rows]
        columns = (self._popularity[items], self._recent(items, as_of[rows]), self._ratings[items], affinity, activity)
        return np.stack(columns, axis=1).astype(np.float32)

    @property
    def newest(self) -> int:
        """Time of the last interaction in the data, 0 without times."""
        return sum(_span(self._dataset)) - 3 if self._times is not None else 0

    def last_times(self, user_rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Time of the last interaction of each known user; that of the whole data for those without one."""
        times = self._dataset.times
        found = np.full(len(user_rows), self.newest, np.int64)
        indptr = self._dataset.interactions.indptr
        for place, row in enumerate(user_rows):
            if times is not None and indptr[row] != indptr[row + 1]:
                found[place] = times[indptr[row] : indptr[row + 1]].max()
        return found

    def _recent(self, items: NDArray[np.int64], as_of: NDArray[np.int64]) -> Floats:
        """Logarithm of how many interacted with the item in the 30 days before."""
        if self._times is None:
            return np.zeros(len(items), np.float32)
        # Times of all items in one ascending array, each item's moved up by more than the whole span.
        until = np.searchsorted(self._times, self._shift(items, as_of), side="right")
        since = np.searchsorted(self._times, self._shift(items, as_of - _WINDOW_S), side="right")
        return np.asarray(np.log1p(until - np.maximum(since, self._starts[items])), np.float32)

    def _shift(self, items: NDArray[np.int64], times: NDArray[np.int64]) -> NDArray[np.int64]:
        low, span = _span(self._dataset)
        return items * span + np.clip(times - low, -1, span - 2) + 1


def _mean_ratings(dataset: Dataset) -> Floats:
    """Mean rating of each item, drawn to the overall mean where there are few; 0 without ratings."""
    if dataset.ratings is None or not len(dataset.ratings):
        return np.zeros(dataset.items, np.float32)
    columns = dataset.interactions.indices
    sums = np.bincount(columns, weights=dataset.ratings, minlength=dataset.items)
    counts = np.bincount(columns, minlength=dataset.items)
    prior = float(dataset.ratings.mean())
    return np.asarray((sums + _PRIOR_RATINGS * prior) / (counts + _PRIOR_RATINGS), np.float32)


def _times_by_item(dataset: Dataset) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]:
    starts = np.concatenate(([0], np.cumsum(dataset.popularity())))[:-1]
    if dataset.times is None or not len(dataset.times):
        return None, starts
    low, span = _span(dataset)
    shifted = dataset.interactions.indices.astype(np.int64) * span + (dataset.times - low) + 1
    return np.sort(shifted), starts


def _span(dataset: Dataset) -> tuple[int, int]:
    if dataset.times is None or not len(dataset.times):
        return 0, 2
    low = int(dataset.times.min())
    return low, int(dataset.times.max()) - low + 3

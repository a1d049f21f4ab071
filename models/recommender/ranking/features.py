"""Ranking features of users, items and pairs, in addition to the scores of the retrievers.

Each feature is computed as of a moment of the user, the last known interaction. Later events are ignored in training
and in serving, to prevent leakage. Attributes (age, genres, year) come from the feature tables as columns of
ones, for dated features those of the same moment. A change of the tables needs new `RankingFeatures`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.algorithms.content import inverse_frequency, weigh_features
from models.recommender.algorithms.neighbours import normalise_rows
from models.recommender.dataset.dataset import Dataset, stored_rows
from models.recommender.dataset.temporal_features import FeatureLookup, StaticFeatures, TemporalFeatures
from models.recommender.dataset.timeline import Timeline

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

_DAY_S = 86_400
WINDOWS_DAYS = (1, 7, 30, 90)
FEATURE_NAMES = (
    "popularity",  # users of the item until the moment; logarithm
    *(f"popularity_{days}d" for days in WINDOWS_DAYS),  # of these, users in the last days; logarithm
    "rating",  # mean rating until the moment, shrunk to the overall mean
    "newness",  # days since the first interaction; logarithm
    "recency",  # days since the last interaction; logarithm
    "affinity",  # cosine of the attributes (genres, year) of the item and of the user's items
    "segment",  # lift of popularity among users with the same attributes (age, ...); logarithm
    "activity",  # number of items of the user; logarithm
)
_PRIOR_EVENTS = 5.0
_PRIOR_SEGMENT = 1_000.0
_NEVER_DAYS = 10_000.0
# A timeline of attributes takes 8 bytes per attribute of the user of each event.
_MAX_SEGMENT_EVENTS = 20_000_000


class RankingFeatures:
    """The ranking features of a data set at any moment."""

    def __init__(self, dataset: Dataset, *, is_now: bool = False) -> None:
        """Index the events. With `is_now` use the current features of the data set instead of those of a moment."""
        matrix = dataset.interactions
        columns = matrix.indices.astype(np.int64)
        times = np.zeros(len(columns), np.int64) if dataset.times is None else dataset.times
        self._events = Timeline(columns, times, dataset.items, dataset.ratings)
        self._all_events = Timeline(np.zeros_like(columns), times, 1, dataset.ratings)
        self.newest = dataset.newest()
        self._last = dataset.last_times()
        self._affinity = _AttributeAffinity(dataset, is_now=is_now)
        self._segment_popularity = _SegmentPopularity(dataset, times, self._all_events, is_now=is_now)

    def last_times(self, user_rows: Integers) -> Integers:
        """Return the time of each user's last interaction (Unix seconds), of the whole data for users without one."""
        return self._last[user_rows]

    def compute(
        self, histories: sparse.csr_array, as_of: Integers, pairs: tuple[Integers, Integers], users: Integers | None
    ) -> Floats:
        """Compute the features of pairs of a row of `histories` and an item, (pairs, features).

        `as_of` is the moment of each row in Unix seconds; `users` are the users of the rows, None for unknown users.
        """
        rows, items = pairs
        until = as_of[rows]
        ends = self._events.ends(items, until)
        seen = self._events.counts(items, ends)
        columns = [
            np.log1p(seen),
            *(np.log1p(ends - self._events.ends(items, until - days * _DAY_S)) for days in WINDOWS_DAYS),
            self._ratings(items, ends, rows, as_of),
            _days(until - self._events.first(items), seen),
            _days(until - self._events.latest(items, ends), seen),
            self._affinity.affinity(histories, as_of, pairs),
            self._segment_popularity.lifts(users, pairs, as_of, seen),
            np.log1p(np.diff(histories.indptr))[rows],
        ]
        return np.stack(columns, axis=1).astype(np.float32)

    def _ratings(self, items: Integers, ends: Integers, rows: Integers, as_of: Integers) -> NDArray[np.float64]:
        group = np.zeros_like(as_of)
        all_ends = self._all_events.ends(group, as_of)
        overall = self._all_events.sums(group, all_ends) / np.maximum(self._all_events.counts(group, all_ends), 1)
        sums = self._events.sums(items, ends) + _PRIOR_EVENTS * overall[rows]
        return np.asarray(sums / (self._events.counts(items, ends) + _PRIOR_EVENTS))


class _AttributeAffinity:
    """The similarity of item attributes to those of the items of a user."""

    def __init__(self, dataset: Dataset, *, is_now: bool) -> None:
        features = dataset.item_features
        if features is None:
            features = sparse.csr_array((dataset.items, 0), dtype=np.float32)
        dated = dataset.dated_items
        self._items = _lookup(features, None if is_now else dated)
        # For dated attributes the inverse frequency would leak later rows.
        weights = inverse_frequency(features) if dated is None else np.ones(features.shape[1], np.float32)
        self._weighted = weigh_features(self._items.features, weights)

    def affinity(self, histories: sparse.csr_array, as_of: Integers, pairs: tuple[Integers, Integers]) -> Floats:
        """Return the cosine of each pair's item and all items of its history, (pairs,), as of the row's moment."""
        rows, items = pairs
        if not self._weighted.shape[1]:
            return np.zeros(len(items), np.float32)
        history_rows = self._items.rows(histories.indices.astype(np.int64), np.repeat(as_of, np.diff(histories.indptr)))
        ones = np.ones(len(history_rows), np.float32)
        history = sparse.csr_array((ones, history_rows, histories.indptr), shape=(len(as_of), self._weighted.shape[0]))
        profiles = normalise_rows(sparse.csr_array(history @ self._weighted)).toarray()
        chosen = self._weighted[self._items.rows(items, as_of[rows])]
        entries = stored_rows(chosen)
        products = chosen.data * profiles[rows[entries], chosen.indices]
        return np.asarray(np.bincount(entries, products, minlength=len(items)), np.float32)


class _SegmentPopularity:
    """The popularity of items among users with an attribute, by the attributes at the time of each event."""

    def __init__(self, dataset: Dataset, times: Integers, all_events: Timeline, *, is_now: bool) -> None:
        features = dataset.user_features
        self._users: FeatureLookup | None = None
        self._items = dataset.items
        if features is None:
            return
        lookup = _lookup(features, dataset.dated_users)
        users = lookup.rows(stored_rows(dataset.interactions), times)
        if int(np.diff(lookup.features.indptr)[users].sum()) > _MAX_SEGMENT_EVENTS:
            return
        self._users = StaticFeatures(features) if is_now else lookup
        repeated = lookup.features[users]
        event = stored_rows(repeated)
        attributes = repeated.indices.astype(np.int64)
        columns = dataset.interactions.indices.astype(np.int64)
        self._width = features.shape[1]
        self._all_events = all_events
        self._by_attribute = Timeline(attributes, times[event], self._width)
        self._by_attribute_and_item = Timeline(
            attributes * self._items + columns[event], times[event], self._width * self._items
        )

    def lifts(
        self, users: Integers | None, pairs: tuple[Integers, Integers], as_of: Integers, seen: Integers
    ) -> NDArray[np.float64]:
        """Return the mean over attributes of log(share among users with it / share among all), 0 without attributes.

        `seen` is the number of users of each pair's item until the moment.
        """
        rows, items = pairs
        if self._users is None or users is None:
            return np.zeros(len(items))
        chosen = self._users.features[self._users.rows(users, as_of)]
        counts = np.diff(chosen.indptr)
        # Repeat the attributes of its row for each pair.
        sizes = counts[rows]
        pair = np.repeat(np.arange(len(items)), sizes)
        offset = np.arange(len(pair)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        entry = chosen.indptr[rows][pair] + offset
        attributes, moments = chosen.indices[entry].astype(np.int64), as_of[rows][pair]
        shares = ((seen + 1) / (self._total(as_of) + self._items)[rows])[pair]
        keys = attributes * self._items + items[pair]
        # Shrink the share to the overall share for an attribute with few events.
        smoothed = (
            self._by_attribute_and_item.counts(keys, self._by_attribute_and_item.ends(keys, moments))
            + _PRIOR_SEGMENT * shares
        )
        lifts = np.log(smoothed / (self._attribute_counts(chosen, as_of)[entry] + _PRIOR_SEGMENT) / shares)
        summed = np.bincount(pair, lifts, minlength=len(items))
        return np.asarray(summed / np.maximum(sizes, 1), np.float64)

    def _total(self, as_of: Integers) -> Integers:
        group = np.zeros_like(as_of)
        return self._all_events.counts(group, self._all_events.ends(group, as_of))

    def _attribute_counts(self, chosen: sparse.csr_array, as_of: Integers) -> Integers:
        """Return the number of events of each attribute of each row, aligned with its entries."""
        attributes = chosen.indices.astype(np.int64)
        moments = np.repeat(as_of, np.diff(chosen.indptr))
        return self._by_attribute.counts(attributes, self._by_attribute.ends(attributes, moments))


def _lookup(features: sparse.csr_array, dated: TemporalFeatures | None) -> FeatureLookup:
    return StaticFeatures(features) if dated is None else dated


def _days(seconds: Integers, seen: Integers) -> NDArray[np.float64]:
    return np.log1p(np.where(seen > 0, seconds / _DAY_S, _NEVER_DAYS))

"""Features of users, items and both, that a ranker is told beside the scores of retrievers. Knows arrays, no retriever.

Every one of them is as of a moment of the user: the last interaction that is known. Nothing that anyone did later is
counted, in training as in serving; what was not known then must not help a ranker to learn, since it never will be.
Attributes (age, genres, year) come from the feature tables, as columns of ones: those of the same moment where they are
dated. `RankingFeatures` is made anew when the tables change.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.algorithms.content import rarity, weighted
from models.recommender.algorithms.neighbours import normalised
from models.recommender.dataset.dataset import Dataset, stored_rows
from models.recommender.dataset.temporal_features import Fixed, Known, TemporalFeatures
from models.recommender.dataset.timeline import Timeline

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

_DAY_S = 86_400
WINDOWS_DAYS = (1, 7, 30, 90)
FACTS = (
    "popularity",  # how many took to the item, by then; logarithm
    *(f"popularity_{days}d" for days in WINDOWS_DAYS),  # of these, in the last so many days; logarithm
    "rating",  # its mean rating by then, drawn to the overall mean where there are few
    "newness",  # days since anyone first took to it; logarithm
    "recency",  # days since anyone last took to it; logarithm
    "affinity",  # cosine of its attributes (genres, year) with those of the user's items
    "segment",  # how much more popular it is among people with the user's attributes (age, ...); logarithm
    "activity",  # how many items the user has; logarithm
)
_PRIOR_EVENTS = 5.0
_PRIOR_SEGMENT = 1_000.0
_NEVER_DAYS = 10_000.0
# A timeline of attributes takes 8 bytes per attribute of every event's user.
_MAX_SEGMENT_EVENTS = 20_000_000


class RankingFeatures:
    """What a data set tells of its items at any time. Arrays over items and events."""

    def __init__(self, dataset: Dataset, *, is_now: bool = False) -> None:
        """`is_now`: whoever is asked about has the data set's features as they stand, not those of a moment."""
        matrix = dataset.interactions
        columns = matrix.indices.astype(np.int64)
        times = np.zeros(len(columns), np.int64) if dataset.times is None else dataset.times
        self._events = Timeline(columns, times, dataset.items, dataset.ratings)
        self._everything = Timeline(np.zeros_like(columns), times, 1, dataset.ratings)
        self.newest = dataset.newest()
        self._last = dataset.last_times()
        self._tastes = _Tastes(dataset, is_now=is_now)
        self._segments = _Segments(dataset, times, self._everything, is_now=is_now)

    def last_times(self, user_rows: Integers) -> Integers:
        """Time of the last interaction of each known user, Unix seconds; of the whole data for those without one."""
        return self._last[user_rows]

    def of(
        self, histories: sparse.csr_array, as_of: Integers, pairs: tuple[Integers, Integers], users: Integers | None
    ) -> Floats:
        """All FACTS of pairs of a row of `histories` and an item, (pairs, FACTS).

        `as_of` is the moment of each row in Unix seconds; `users` are the rows' users, None for somebody without a row.
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
            self._tastes.affinity(histories, as_of, pairs),
            self._segments.lifts(users, pairs, as_of, seen),
            np.log1p(np.diff(histories.indptr))[rows],
        ]
        return np.stack(columns, axis=1).astype(np.float32)

    def _ratings(self, items: Integers, ends: Integers, rows: Integers, as_of: Integers) -> NDArray[np.float64]:
        nobody = np.zeros_like(as_of)
        all_ends = self._everything.ends(nobody, as_of)
        usual = self._everything.sums(nobody, all_ends) / np.maximum(self._everything.counts(nobody, all_ends), 1)
        sums = self._events.sums(items, ends) + _PRIOR_EVENTS * usual[rows]
        return np.asarray(sums / (self._events.counts(items, ends) + _PRIOR_EVENTS))


class _Tastes:
    """Attributes of items, and how like those of a user's items they are."""

    def __init__(self, dataset: Dataset, *, is_now: bool) -> None:
        features = dataset.item_features
        if features is None:
            features = sparse.csr_array((dataset.items, 0), dtype=np.float32)
        dated = dataset.dated_items
        self._items = _known(features, None if is_now else dated)
        # How rare an attribute is would tell of later rows.
        weights = rarity(features) if dated is None else np.ones(features.shape[1], np.float32)
        self._directions = weighted(self._items.features, weights)

    def affinity(self, histories: sparse.csr_array, as_of: Integers, pairs: tuple[Integers, Integers]) -> Floats:
        """Cosine of each pair's item with all items of its row of `histories`, (pairs,), as of the row's moment."""
        rows, items = pairs
        if not self._directions.shape[1]:
            return np.zeros(len(items), np.float32)
        taken = self._items.rows(histories.indices.astype(np.int64), np.repeat(as_of, np.diff(histories.indptr)))
        ones = np.ones(len(taken), np.float32)
        own = sparse.csr_array((ones, taken, histories.indptr), shape=(len(as_of), self._directions.shape[0]))
        profiles = normalised(sparse.csr_array(own @ self._directions)).toarray()
        chosen = self._directions[self._items.rows(items, as_of[rows])]
        places = stored_rows(chosen)
        products = chosen.data * profiles[rows[places], chosen.indices]
        return np.asarray(np.bincount(places, products, minlength=len(items)), np.float32)


class _Segments:
    """What people of one kind took to: events by their item and by each attribute that their user had then."""

    def __init__(self, dataset: Dataset, times: Integers, of_all: Timeline, *, is_now: bool) -> None:
        features = dataset.user_features
        self._users: Known | None = None
        self._items = dataset.items
        if features is None:
            return
        known = _known(features, dataset.dated_users)
        users = known.rows(stored_rows(dataset.interactions), times)
        if int(np.diff(known.features.indptr)[users].sum()) > _MAX_SEGMENT_EVENTS:
            return
        self._users = Fixed(features) if is_now else known
        repeated = known.features[users]
        event = stored_rows(repeated)
        kinds = repeated.indices.astype(np.int64)
        columns = dataset.interactions.indices.astype(np.int64)
        self._width = features.shape[1]
        self._of_all = of_all
        self._of_kinds = Timeline(kinds, times[event], self._width)
        self._of_both = Timeline(kinds * self._items + columns[event], times[event], self._width * self._items)

    def lifts(
        self, users: Integers | None, pairs: tuple[Integers, Integers], as_of: Integers, seen: Integers
    ) -> NDArray[np.float64]:
        """Mean over the user's attributes of log(share among these people / share among all), 0 without attributes.

        `seen` is how many took to the item of each pair by then.
        """
        rows, items = pairs
        if self._users is None or users is None:
            return np.zeros(len(items))
        chosen = self._users.features[self._users.rows(users, as_of)]
        counts = np.diff(chosen.indptr)
        # The attributes of a pair are those of its row, one after the other.
        own = counts[rows]
        place = np.repeat(np.arange(len(items)), own)
        offset = np.arange(len(place)) - np.repeat(np.cumsum(own) - own, own)
        entry = chosen.indptr[rows][place] + offset
        kinds, when = chosen.indices[entry].astype(np.int64), as_of[rows][place]
        shares = ((seen + 1) / (self._total(as_of) + self._items)[rows])[place]
        both = kinds * self._items + items[place]
        # With few events of a kind of people the share among them is drawn to that among all.
        numbers = self._of_both.counts(both, self._of_both.ends(both, when)) + _PRIOR_SEGMENT * shares
        lifts = np.log(numbers / (self._of_kind(chosen, as_of)[entry] + _PRIOR_SEGMENT) / shares)
        summed = np.bincount(place, lifts, minlength=len(items))
        return np.asarray(summed / np.maximum(own, 1), np.float64)

    def _total(self, as_of: Integers) -> Integers:
        nobody = np.zeros_like(as_of)
        return self._of_all.counts(nobody, self._of_all.ends(nobody, as_of))

    def _of_kind(self, chosen: sparse.csr_array, as_of: Integers) -> Integers:
        """How many events there were of each attribute of each row, aligned with its entries."""
        kinds = chosen.indices.astype(np.int64)
        when = np.repeat(as_of, np.diff(chosen.indptr))
        return self._of_kinds.counts(kinds, self._of_kinds.ends(kinds, when))


def _known(features: sparse.csr_array, dated: TemporalFeatures | None) -> Known:
    return Fixed(features) if dated is None else dated


def _days(seconds: Integers, seen: Integers) -> NDArray[np.float64]:
    return np.log1p(np.where(seen > 0, seconds / _DAY_S, _NEVER_DAYS))

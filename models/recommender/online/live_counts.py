"""What recent events change in the counts of an artifact: who took to an item since, and who turned it down.

The counts are those that training on the same events would make. Knows ids and rows, no queries.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from models.recommender.algorithms.popularity import Popularity
from models.recommender.algorithms.top_k import Scores
from models.recommender.archive import Contents
from models.recommender.online.recent_events import Change, RecentEvents, State


@dataclass(frozen=True, slots=True)
class EventCounts:
    """`added`: how many users each item gained or lost, (items,). `shares`: of all users, those who took to it, 0..1.

    All users are those of the artifact and those who took to something since.
    """

    added: NDArray[np.int64]
    shares: Scores


@dataclass(frozen=True, slots=True)
class Moment:
    """When an item gained a user, or lost one: `change` is 1 or -1, `time` that of the interaction."""

    row: int
    time: float
    change: int


class LiveCounts:
    """EventCounts recent events as they come. Safe to read from several threads at once."""

    def __init__(self, contents: Contents, popular: Popularity, recent: RecentEvents) -> None:
        self._contents = contents
        self._popular = popular
        # Looked for once: it takes a look at all interactions.
        self._since = popular.since(contents.dataset)
        self._recent = recent
        self._lock = Lock()
        self._done = 0
        self._likes: Counter[str] = Counter()
        self._new_users = 0
        self._in_window = np.zeros(len(contents.items), np.int64)
        self._counts = EventCounts(np.zeros(len(contents.items), np.int64), popular.scores_)
        self.moments: list[Moment] = []
        """What `read` has counted, in the order of arrival; only ever appended to."""

    def read(self) -> EventCounts:
        """The counts now."""
        changes = self._recent.changes
        if self._done < len(changes):
            with self._lock:
                end, added = len(changes), self._counts.added.copy()
                for change in changes[self._done : end]:
                    self._count(change, added)
                self._counts, self._done = EventCounts(added, self._shares()), end
        return self._counts

    def _shares(self) -> Scores:
        """Those of `popular`: the artifact's are within its window, recent events all are."""
        learned = max(1, self._contents.dataset.users)
        counts = np.rint(self._popular.scores_.astype(np.float64) * learned) + self._in_window
        return (counts / (learned + self._new_users)).astype(np.float32)

    def _count(self, change: Change, added: NDArray[np.int64]) -> None:
        if self._contents.users.row(change.user_id) is None:
            self._count_user(change)
        row = self._contents.items.row(change.item_id)
        if row is None:
            return
        held = self._held(change.user_id, row)
        for state, sign in ((change.was, -1), (change.now, 1)):
            counted = None if state is None else _counted(state, held)
            if counted is not None:
                difference, at = counted
                added[row] += sign * difference
                if held is None or self._since is None or at > self._since:
                    self._in_window[row] += sign * difference
                self.moments.append(Moment(row, at, sign * difference))

    def _count_user(self, change: Change) -> None:
        before = self._likes[change.user_id]
        was_liked = change.was is not None and change.was.is_liked
        self._likes[change.user_id] = after = before + int(change.now.is_liked) - int(was_liked)
        self._new_users += int(after > 0) - int(before > 0)

    def _held(self, user_id: str, item: int) -> float | None:
        """The time of an interaction that the artifact holds, -inf when it has no times; None when it does not."""
        row = self._contents.users.row(user_id)
        if row is None:
            return None
        dataset = self._contents.dataset
        start, end = dataset.interactions.indptr[row : row + 2]
        places = np.flatnonzero(dataset.interactions.indices[start:end] == item)
        if not len(places):
            return None
        return -np.inf if dataset.times is None else float(dataset.times[start + places[0]])


def _counted(state: State, held: float | None) -> tuple[int, float] | None:
    """What the state of a user and an item adds to what the artifact holds of them, and the time of that."""
    if held is None:
        return (1, state.since) if state.is_liked else None
    return None if state.is_liked or held > state.since else (-1, held)

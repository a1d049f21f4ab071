"""Item counts that include recent events: users who liked or disliked an item after training.

The counts equal those of training on the same events.
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
from models.recommender.online.recent_events import Preference, PreferenceChange, RecentEvents


@dataclass(frozen=True, slots=True)
class ItemCounts:
    """`added`: users that each item gained or lost, (items,). `shares`: share of all users with the item, 0..1.

    All users are those of the artifact and new users with a liked item.
    """

    added: NDArray[np.int64]
    shares: Scores


@dataclass(frozen=True, slots=True)
class CountChange:
    """An item that gained (`change` 1) or lost (-1) a user. `time` is that of the interaction."""

    row: int
    time: float
    change: int


class LiveCounts:
    """Item counts that follow recent events. Thread-safe."""

    def __init__(self, contents: Contents, popular: Popularity, recent: RecentEvents) -> None:
        self._contents = contents
        self._popular = popular
        # Computed once, because it scans all interactions.
        self._since = popular.since(contents.dataset)
        self._recent = recent
        self._lock = Lock()
        self._processed = 0
        self._likes: Counter[str] = Counter()
        self._new_users = 0
        self._in_window = np.zeros(len(contents.items), np.int64)
        self._counts = ItemCounts(np.zeros(len(contents.items), np.int64), popular.scores_)
        self.changes: list[CountChange] = []
        """The counted changes in the order of arrival; append-only."""

    def read(self) -> ItemCounts:
        """Return the current counts."""
        changes = self._recent.changes
        if self._processed < len(changes):
            with self._lock:
                end, added = len(changes), self._counts.added.copy()
                for change in changes[self._processed : end]:
                    self._count(change, added)
                self._counts, self._processed = ItemCounts(added, self._shares()), end
        return self._counts

    def _shares(self) -> Scores:
        """Compute shares from interactions of the artifact in the window of `popular`, and all recent events."""
        trained_users = max(1, self._contents.dataset.users)
        counts = np.rint(self._popular.scores_.astype(np.float64) * trained_users) + self._in_window
        return (counts / (trained_users + self._new_users)).astype(np.float32)

    def _count(self, change: PreferenceChange, added: NDArray[np.int64]) -> None:
        if self._contents.users.row(change.user_id) is None:
            self._count_user(change)
        row = self._contents.items.row(change.item_id)
        if row is None:
            return
        trained_at = self._trained_at(change.user_id, row)
        for preference, sign in ((change.was, -1), (change.now, 1)):
            contribution = None if preference is None else _contribution(preference, trained_at)
            if contribution is not None:
                count, time = contribution
                added[row] += sign * count
                if trained_at is None or self._since is None or time > self._since:
                    self._in_window[row] += sign * count
                self.changes.append(CountChange(row, time, sign * count))

    def _count_user(self, change: PreferenceChange) -> None:
        before = self._likes[change.user_id]
        was_liked = change.was is not None and change.was.is_liked
        self._likes[change.user_id] = after = before + int(change.now.is_liked) - int(was_liked)
        self._new_users += int(after > 0) - int(before > 0)

    def _trained_at(self, user_id: str, item: int) -> float | None:
        """Return the time of the interaction in the artifact, -inf without times; None without an interaction."""
        row = self._contents.users.row(user_id)
        if row is None:
            return None
        dataset = self._contents.dataset
        start, end = dataset.interactions.indptr[row : row + 2]
        positions = np.flatnonzero(dataset.interactions.indices[start:end] == item)
        if not len(positions):
            return None
        return -np.inf if dataset.times is None else float(dataset.times[start + positions[0]])


def _contribution(preference: Preference, trained_at: float | None) -> tuple[int, float] | None:
    """Return the change of the item's count relative to the artifact, and its time; None for no change."""
    if trained_at is None:
        return (1, preference.since) if preference.is_liked else None
    return None if preference.is_liked or trained_at > preference.since else (-1, trained_at)

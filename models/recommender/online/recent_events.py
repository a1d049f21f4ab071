"""The preferences of users from events after training, by id."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from models.recommender.events import NEGATIVE_KINDS, Event


@dataclass(frozen=True, slots=True)
class Preference:
    """Whether a user likes an item, and since when; for repeated dislikes, the time of the last one."""

    since: float
    is_liked: bool


@dataclass(frozen=True, slots=True)
class PreferenceChange:
    """A change of a user's preference for an item. `was` is None without an earlier event."""

    user_id: str
    item_id: str
    was: Preference | None
    now: Preference


class RecentEvents:
    """The recent preferences of users. One thread adds, several threads read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # user -> item -> time of the latest event, and the preference that it expresses.
        self._users: dict[str, dict[str, tuple[float, Preference]]] = {}
        self.changes: list[PreferenceChange] = []
        """The changes in the order of arrival; append-only."""

    def add(self, events: Iterable[Event]) -> None:
        """Add events. Ignore an event that is older than the latest one of the same user and item."""
        with self._lock:
            for event in events:
                self._add(event, self._users.setdefault(event.user_id, {}))

    def _add(self, event: Event, items: dict[str, tuple[float, Preference]]) -> None:
        latest, was = items.get(event.item_id, (event.time, None))
        if event.time < latest:
            return
        is_liked = event.kind not in NEGATIVE_KINDS
        # A repeated dislike overrides an interaction of the artifact between the two, as in training.
        if was is None or was.is_liked != is_liked or (not is_liked and event.time > was.since):
            now = Preference(event.time, is_liked)
            self.changes.append(PreferenceChange(event.user_id, event.item_id, was, now))
        else:
            now = was
        items[event.item_id] = (event.time, now)

    def knows(self, user_id: str) -> bool:
        """Return whether there is an event of the user."""
        return user_id in self._users

    def preferences_of(self, user_id: str) -> tuple[list[str], list[str]]:
        """Return the items that a user likes, oldest first, and those that the user dislikes."""
        if user_id not in self._users:
            return [], []
        with self._lock:
            items = sorted(self._users[user_id].items(), key=lambda each: each[1][0])
        liked = [item for item, (_, preference) in items if preference.is_liked]
        return liked, [item for item, (_, preference) in items if not preference.is_liked]

"""What users did since the artifact was trained: kept by id, added to while it is read. Knows ids, no rows."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

# These say that the user does not want to see the item: they hide it, and speak for nothing.
NEGATIVE = frozenset({"dislike", "hide"})


class Happened(Protocol):
    """One event."""

    @property
    def user_id(self) -> str: ...

    @property
    def item_id(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def time(self) -> float: ...


@dataclass(frozen=True, slots=True)
class State:
    """Whether a user likes an item, and since when; of one turned down again and again, since the last time."""

    since: float
    is_liked: bool


@dataclass(frozen=True, slots=True)
class Change:
    """A user likes an item from now on, or no longer does. `was` is None where nothing was known of the two."""

    user_id: str
    item_id: str
    was: State | None
    now: State


class RecentEvents:
    """RecentEvents interests of users. One thread adds, any number reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # user -> item -> time of the latest event, which decides, and what it says.
        self._users: dict[str, dict[str, tuple[float, State]]] = {}
        self.changes: list[Change] = []
        """In the order of their arrival; only ever appended to."""

    def add(self, events: Iterable[Happened]) -> None:
        """Take in events. An older event than the one known of the same user and item changes nothing."""
        with self._lock:
            for event in events:
                self._add(event, self._users.setdefault(event.user_id, {}))

    def _add(self, event: Happened, items: dict[str, tuple[float, State]]) -> None:
        latest, was = items.get(event.item_id, (event.time, None))
        if event.time < latest:
            return
        is_liked = event.kind not in NEGATIVE
        # What was turned down again outweighs what the artifact holds from in between, as it does in training.
        if was is None or was.is_liked != is_liked or (not is_liked and event.time > was.since):
            now = State(event.time, is_liked)
            self.changes.append(Change(event.user_id, event.item_id, was, now))
        else:
            now = was
        items[event.item_id] = (event.time, now)

    def knows(self, user_id: str) -> bool:
        """Whether the user did anything."""
        return user_id in self._users

    def of(self, user_id: str) -> tuple[list[str], list[str]]:
        """The items that a user likes, oldest first, and those that the user does not."""
        if user_id not in self._users:
            return [], []
        with self._lock:
            items = sorted(self._users[user_id].items(), key=lambda each: each[1][0])
        liked = [item for item, (_, state) in items if state.is_liked]
        return liked, [item for item, (_, state) in items if not state.is_liked]

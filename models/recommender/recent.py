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
class Pair:
    """The first time that a user showed interest in an item."""

    user_id: str
    item_id: str
    time: float


class Recent:
    """Recent interests of users. One thread adds, any number reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # user -> item -> whether the user likes it: the latest event decides.
        self._users: dict[str, dict[str, tuple[float, bool]]] = {}
        self._known: set[tuple[str, str]] = set()
        self.pairs: list[Pair] = []
        """Distinct user and item, in the order of their arrival; only ever appended to."""

    def add(self, events: Iterable[Happened]) -> None:
        """Take in events. An older event than the one known of the same user and item changes nothing."""
        with self._lock:
            for event in events:
                items = self._users.setdefault(event.user_id, {})
                known = items.get(event.item_id)
                is_liked = event.kind not in NEGATIVE
                if known is None or known[0] <= event.time:
                    items[event.item_id] = (event.time, is_liked)
                if is_liked and (event.user_id, event.item_id) not in self._known:
                    self._known.add((event.user_id, event.item_id))
                    self.pairs.append(Pair(event.user_id, event.item_id, event.time))

    def knows(self, user_id: str) -> bool:
        """Whether the user did anything."""
        return user_id in self._users

    def of(self, user_id: str) -> tuple[list[str], list[str]]:
        """The items that a user likes, oldest first, and those that the user does not."""
        if user_id not in self._users:
            return [], []
        with self._lock:
            items = sorted(self._users[user_id].items(), key=lambda each: each[1][0])
        return [item for item, (_, liked) in items if liked], [item for item, (_, liked) in items if not liked]

"""Feedback events of users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

# Kinds of events that say that the user does not want to see the item.
NEGATIVE_KINDS = frozenset({"dislike", "hide"})


class Event(Protocol):
    """One action of a user on an item. `time` is in Unix seconds; two events with the same `key` are one event."""

    @property
    def user_id(self) -> str: ...

    @property
    def item_id(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def value(self) -> float | None: ...

    @property
    def time(self) -> float: ...

    @property
    def key(self) -> str: ...


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event of the feedback log. Times are Unix seconds; `received` is the time of writing."""

    position: int
    user_id: str
    item_id: str
    kind: str
    value: float | None
    time: float
    key: str
    received: float

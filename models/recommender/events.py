"""Feedback events of users."""

from __future__ import annotations

from dataclasses import dataclass

# Kinds of events that say that the user does not want to see the item.
NEGATIVE_KINDS = frozenset({"dislike", "hide"})


@dataclass(frozen=True, slots=True)
class Event:
    """One action of a user on an item. `time` is in Unix seconds; two events with the same `key` are one event."""

    user_id: str
    item_id: str
    kind: str
    value: float | None
    time: float
    key: str


@dataclass(frozen=True, slots=True)
class LoggedEvent(Event):
    """An event of the feedback log, with its position and the time of writing in Unix seconds."""

    position: int
    received: float

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
class NewEvent(Event):
    """An event to write.

    Events with the same `key` and another non-empty `content`, a digest of what was sent, contradict each other.
    `earlier_key` is the key that version 0.1 gave the event, which had no caller in it; empty if it had the same.
    """

    content: str = ""
    earlier_key: str = ""


@dataclass(frozen=True, slots=True)
class LoggedEvent(Event):
    """An event of the feedback log, with its position and the time of writing in Unix seconds."""

    position: int
    received: float

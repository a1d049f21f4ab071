"""Who waits for the answer: until when, whether still there, and under which trace. Knows no HTTP framework."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """The waiting side of one request.

    `deadline` is in `time.monotonic()` seconds. `is_gone` tells whether the connection was closed meanwhile.
    `traceparent` is the W3C header as it came, or empty.
    """

    deadline: float
    is_gone: Callable[[], bool]
    traceparent: str = ""


def _stays() -> bool:
    return False


NOBODY = Caller(deadline=float("inf"), is_gone=_stays)
_current: ContextVar[Caller] = ContextVar("caller", default=NOBODY)


def current_caller() -> Caller:
    """The caller that this task answers; outside of a request one that waits for ever."""
    return _current.get()


def set_caller(caller: Caller) -> None:
    """Make `caller` the current one for this task and the tasks that it starts."""
    _current.set(caller)

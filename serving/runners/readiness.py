"""Whether this gateway can answer, and if not, which runner is missing. Reads cached statuses: costs nothing to ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from serving.runners.interface import RunnerStatus


class Watched(Protocol):
    """A runner whose status is known without asking."""

    name: str

    @property
    def last_status(self) -> RunnerStatus: ...


@dataclass(frozen=True, slots=True)
class Readiness:
    """Ready when every runner has answered its warm-up and none is gone; never while stopping."""

    is_ready: bool
    is_stopping: bool
    runners: dict[str, RunnerStatus]


def readiness(runners: Sequence[Watched], *, is_stopping: Callable[[], bool] = lambda: False) -> Readiness:
    """The state of this gateway now."""
    statuses = {runner.name: runner.last_status for runner in runners}
    stopping = is_stopping()
    return Readiness(not stopping and all(status.ready for status in statuses.values()), stopping, statuses)

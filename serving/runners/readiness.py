"""Readiness of this gateway: whether every runner is ready. Reads the last statuses and sends nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from serving.runners.interface import RunnerStatus


class RunnerWithStatus(Protocol):
    """A runner whose last status is known without a call."""

    name: str

    @property
    def last_status(self) -> RunnerStatus: ...


@dataclass(frozen=True, slots=True)
class Readiness:
    """Ready when every runner is ready, and not during shutdown."""

    is_ready: bool
    is_stopping: bool
    runners: dict[str, RunnerStatus]


def readiness(runners: Sequence[RunnerWithStatus], *, is_stopping: Callable[[], bool] = lambda: False) -> Readiness:
    """Return the readiness of this gateway."""
    statuses = {runner.name: runner.last_status for runner in runners}
    stopping = is_stopping()
    return Readiness(not stopping and all(status.ready for status in statuses.values()), stopping, statuses)

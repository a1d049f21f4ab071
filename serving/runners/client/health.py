"""The health of a runner in another process: whether it is up, and its last status."""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Callable

from serving.runners.interface import RunnerStatus

log = logging.getLogger("makunouchi.runners")


class State(enum.Enum):
    """State of the connection to a runner."""

    UNKNOWN = "not checked yet"
    UP = "up"
    CHECKING = "being checked"
    DOWN = "down"


class Health:
    """The health of the runner `name`. `on_state` is called with whether it is up after each check.

    `status` is the last status of the runner, or the reason why there is none. `check_requested` is set when the runner
    must be checked.
    """

    def __init__(self, name: str, on_state: Callable[[bool], None] | None = None) -> None:
        self.state = State.UNKNOWN
        self.status = RunnerStatus(ready=False, model=None, detail="not checked yet")
        self.check_requested = asyncio.Event()
        self._name = name
        self._on_state = on_state
        self._last_ready = self.status
        self._checked = asyncio.Event()

    async def wait_until_checked(self) -> None:
        """Wait until it is known whether the runner is up."""
        await self._checked.wait()

    def record_status(self, status: RunnerStatus) -> None:
        """Record the status of a ready runner. It becomes current while the runner is up, or when it is up again."""
        self._last_ready = status
        if self.state is State.UP:
            self.status = status

    def request_check(self) -> None:
        """Request a check after a fault on a connection; callers wait for its result."""
        if self.state is State.UP:
            self.state = State.CHECKING
            self._checked.clear()
        self.check_requested.set()

    def set_up(self) -> None:
        """Record that the runner answers."""
        was_up, self.state = self.state is State.UP, State.UP
        self.status = self._last_ready
        if not was_up:
            log.info("runner %s is up", self._name)
        self._publish(True)

    def set_down(self, reason: str) -> None:
        """Record that the runner does not answer."""
        was_up, self.state = self.state is State.UP, State.DOWN
        self.status = RunnerStatus(ready=False, model=None, detail=reason)
        if was_up or not self._checked.is_set():
            log.warning("runner %s is not available: %s", self._name, reason)
        self._publish(False)

    def close(self) -> None:
        """Record that the runner is no longer checked, so that no caller waits for a check."""
        self.state = State.DOWN
        self._checked.set()

    def _publish(self, is_up: bool) -> None:
        self._checked.set()
        if self._on_state is not None:
            self._on_state(is_up)

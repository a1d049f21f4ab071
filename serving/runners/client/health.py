"""The health of a runner in another process: whether it is up, and its last status."""

from __future__ import annotations

import asyncio
import enum
import logging
import time
from collections.abc import Callable
from dataclasses import replace

from serving.process.replacements import replaced_since
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

    `check_requested` is set when the runner must be checked. `process` is the name of the runner's service.
    """

    def __init__(self, name: str, on_state: Callable[[bool], None] | None = None, *, process: str = "") -> None:
        self.state = State.UNKNOWN
        self._status = RunnerStatus(ready=False, model=None, detail="not checked yet")
        self.check_requested = asyncio.Event()
        self._name = name
        self._process = process
        self._on_state = on_state
        self._is_up = asyncio.Event()
        self._seen = time.monotonic()
        self._last_ready = self._status
        self._checked = asyncio.Event()

    @property
    def status(self) -> RunnerStatus:
        """The last status of the runner, or the reason why there is none: why its process was replaced, if it was."""
        if self.state is State.DOWN and (reason := replaced_since(self._process, self._seen)):
            return replace(self._status, detail=reason)
        return self._status

    async def wait_until_checked(self) -> None:
        """Wait until it is known whether the runner is up."""
        await self._checked.wait()

    async def wait_until_up(self) -> None:
        """Wait until the runner is up."""
        await self._is_up.wait()

    def record_status(self, status: RunnerStatus) -> None:
        """Record the status of a ready runner. It becomes current while the runner is up, or when it is up again."""
        self._last_ready = status
        self._seen = time.monotonic()
        if self.state is State.UP:
            self._status = status

    def request_check(self) -> None:
        """Request a check after a fault on a connection; callers wait for its result."""
        if self.state is State.UP:
            self.state = State.CHECKING
            self._checked.clear()
            self._is_up.clear()
        self.check_requested.set()

    def set_up(self) -> None:
        """Record that the runner answers."""
        was_up, self.state = self.state is State.UP, State.UP
        self._is_up.set()
        self._status = self._last_ready
        if not was_up:
            log.info("runner %s is up", self._name)
        self._publish(True)

    def set_down(self, reason: str) -> None:
        """Record that the runner does not answer."""
        was_up, self.state = self.state is State.UP, State.DOWN
        self._is_up.clear()
        self._status = RunnerStatus(ready=False, model=None, detail=reason)
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

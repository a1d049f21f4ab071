"""What is known of a runner on the far side of a hop: whether it is up, what it last said, who waits to learn it.

Knows no connections: `hop` says what it sees on them.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Callable

from serving.runners.interface import RunnerStatus

log = logging.getLogger("makunouchi.hop")


class State(enum.Enum):
    """What is known about the runner."""

    UNKNOWN = "not asked yet"
    UP = "up"
    CHECKING = "being checked"
    DOWN = "down"


class Health:
    """The health of the runner `name`. `on_state` is told whether it is up each time that this is found out.

    `status` is what the runner last said, or why it says nothing. `alarm` is set when somebody has to look at it.
    """

    def __init__(self, name: str, on_state: Callable[[bool], None] | None = None) -> None:
        self.state = State.UNKNOWN
        self.status = RunnerStatus(ready=False, model=None, detail="not asked yet")
        self.alarm = asyncio.Event()
        self._name = name
        self._on_state = on_state
        self._heard_last = self.status
        self._settled = asyncio.Event()

    async def settled(self) -> None:
        """Wait until it is known whether the runner is up."""
        await self._settled.wait()

    def heard(self, status: RunnerStatus) -> None:
        """Take in what a runner that is ready said. It counts at once while the runner is up, else once it is."""
        self._heard_last = status
        if self.state is State.UP:
            self.status = status

    def suspect(self) -> None:
        """Something went wrong on a connection: have it looked at, and callers wait for what is found."""
        if self.state is State.UP:
            self.state = State.CHECKING
            self._settled.clear()
        self.alarm.set()

    def up(self) -> None:
        """The runner answers: what it last said holds."""
        was_up, self.state = self.state is State.UP, State.UP
        self.status = self._heard_last
        if not was_up:
            log.info("runner %s is up", self._name)
        self._found(True)

    def down(self, why: str) -> None:
        """The runner does not answer."""
        was_up, self.state = self.state is State.UP, State.DOWN
        self.status = RunnerStatus(ready=False, model=None, detail=why)
        if was_up or not self._settled.is_set():
            log.warning("runner %s is not available: %s", self._name, why)
        self._found(False)

    def _found(self, is_up: bool) -> None:
        self._settled.set()
        if self._on_state is not None:
            self._on_state(is_up)

    def close(self) -> None:
        """Nobody looks after the runner any more: nobody is to wait for it either."""
        self.state = State.DOWN
        self._settled.set()

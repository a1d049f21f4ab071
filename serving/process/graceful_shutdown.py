"""An orderly end: told to stop, finish what was taken, take nothing new, then let the server go. Knows signals only.

BentoML sends SIGTERM to all its processes at once, and uvicorn would close the runners' connections while the gateway
still needs them. So the signal is held here until the last piece of work is done, or the grace period is over, and only
then handed to uvicorn's own handler.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from types import FrameType
from typing import Any, Final

log = logging.getLogger("makunouchi.draining")

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class GracefulShutdown:
    """Counts work in flight, and holds the signal to stop until there is none or `grace_s` is over.

    A runner that the gateway of the same `bentoml serve` uses `waits_for_sessions`: it outlives that gateway. One that
    others reach by its address lets them go at once, so that they look for another. What is still under way when the
    grace period is over is cancelled.
    """

    def __init__(self, *, grace_s: float, waits_for_sessions: bool = False) -> None:
        self.grace_s = grace_s
        self.waits_for_sessions = waits_for_sessions
        self.is_begun = False
        # Set when whoever only keeps this process alive has to let go.
        self.sessions_end = asyncio.Event()
        self.is_over = False
        self._in_flight = 0
        self._tasks: set[asyncio.Task[Any]] = set()  # Any: whatever a request's task gives
        self._previous: dict[int, Any] = {}  # Any: what signal.getsignal gives
        self._timer: asyncio.TimerHandle | None = None
        self._signal: int = signal.SIGTERM

    @property
    def in_flight(self) -> int:
        return self._in_flight

    def enter(self) -> None:
        """The current task begins a piece of work."""
        self._in_flight += 1
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)

    def leave(self) -> None:
        """The current task has ended it."""
        self._in_flight -= 1
        task = asyncio.current_task()
        if task is not None:
            self._tasks.discard(task)
        if self.is_begun and not self._in_flight:
            self._finish()

    def install(self) -> None:
        """Take the signals over from the server that runs this process. Call inside its event loop."""
        loop = asyncio.get_running_loop()

        def told(signum: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self.begin, signum)

        try:
            for each in SIGNALS:
                self._previous[each] = signal.getsignal(each)
                signal.signal(each, told)
        except ValueError:
            # Not the main thread: a server under test. Whoever started it ends it.
            self._previous.clear()

    def uninstall(self) -> None:
        """Give the signals back."""
        if self._timer is not None:
            self._timer.cancel()
        for each, handler in self._previous.items():
            signal.signal(each, handler)
        self._previous.clear()

    def begin(self, signum: int = signal.SIGTERM) -> None:
        """Take nothing new. Told a second time by Ctrl-C, stop at once."""
        if self.is_begun:
            if signum == signal.SIGINT and self._signal == signal.SIGINT:
                self._grace_over()
            return
        self.is_begun = True
        self._signal = signum
        if not self.waits_for_sessions:
            self.sessions_end.set()
        log.info("told to stop: %d in flight, at most %.0f s for them", self._in_flight, self.grace_s)
        if not self._in_flight:
            self._finish()
        else:
            self._timer = asyncio.get_running_loop().call_later(self.grace_s, self._grace_over)

    def _grace_over(self) -> None:
        log.warning("%d still in flight after %.0f s: given up", self._in_flight, self.grace_s)
        self.is_over = True
        self.sessions_end.set()
        for task in self._tasks:
            task.cancel()
        self._finish()

    def _finish(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        handler = self._previous.get(self._signal)
        if callable(handler):
            handler(self._signal, None)

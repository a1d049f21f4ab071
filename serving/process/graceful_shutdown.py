"""Graceful shutdown: after a signal, finish the work in flight, refuse new work, then stop the server.

BentoML sends SIGTERM to all processes at the same time, and uvicorn would close the runners' connections while the
gateway still needs them. Therefore the signal is passed to uvicorn's handler only when the last piece of work is done,
or the grace period is over.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from types import FrameType
from typing import Any, Final

log = logging.getLogger("makunouchi.draining")

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
# Ends the grace period of a shutdown: the supervisor does not wait for a process in which a model hangs.
END_GRACE_PERIOD: Final = signal.SIGUSR1
# From the end of the grace period until a process that still runs is killed. A runner waits 2 s longer than a gateway.
KILL_MARGIN_S: Final = 5.0


class GracefulShutdown:
    """The state of a shutdown and the work in flight, which is cancelled after `grace_s`.

    With `waits_for_sessions`, `sessions_end` is set only after the grace period: a runner must outlive the gateway of
    the same `bentoml serve`. A runner that other hosts use sets it immediately, so that they connect to another runner.
    """

    def __init__(self, *, grace_s: float, waits_for_sessions: bool = False) -> None:
        self.grace_s = grace_s
        self.waits_for_sessions = waits_for_sessions
        self.is_begun = False
        # Set when idle clients have to disconnect.
        self.sessions_end = asyncio.Event()
        self.is_over = False
        self._in_flight = 0
        self._tasks: set[asyncio.Task[Any]] = set()  # Any: results of tasks
        self._previous: dict[int, Any] = {}  # Any: values of signal.getsignal
        self._timer: asyncio.TimerHandle | None = None
        self._signal: int = signal.SIGTERM

    @property
    def in_flight(self) -> int:
        """The number of pieces of work in flight."""
        return self._in_flight

    def enter(self) -> None:
        """Count a piece of work that the current task starts."""
        self._in_flight += 1
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)

    def leave(self) -> None:
        """Count the end of a piece of work of the current task."""
        self._in_flight -= 1
        task = asyncio.current_task()
        if task is not None:
            self._tasks.discard(task)
        if self.is_begun and not self._in_flight:
            self._finish()

    def install(self) -> None:
        """Replace the signal handlers of the server. Call inside its event loop."""
        loop = asyncio.get_running_loop()

        def on_signal(signum: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self.begin, signum)

        try:
            for each in SIGNALS:
                self._previous[each] = signal.getsignal(each)
                signal.signal(each, on_signal)
            self._previous[END_GRACE_PERIOD] = signal.getsignal(END_GRACE_PERIOD)
            signal.signal(END_GRACE_PERIOD, lambda *_: loop.call_soon_threadsafe(self.end_grace_period))
        except ValueError:
            # Not the main thread: a server in a test, which stops it itself.
            self._previous.clear()

    def uninstall(self) -> None:
        """Restore the signal handlers of the server."""
        if self._timer is not None:
            self._timer.cancel()
        for each, handler in self._previous.items():
            signal.signal(each, handler)
        self._previous.clear()

    def begin(self, signum: int = signal.SIGTERM) -> None:
        """Start the shutdown. A second Ctrl-C ends it immediately."""
        if self.is_begun:
            if signum == signal.SIGINT and self._signal == signal.SIGINT:
                self.end_grace_period()
            return
        self.is_begun = True
        self._signal = signum
        if not self.waits_for_sessions:
            self.sessions_end.set()
        log.info("shutting down: waiting at most %.0f s for %d in flight", self.grace_s, self._in_flight)
        if not self._in_flight:
            self._finish()
        else:
            self._timer = asyncio.get_running_loop().call_later(self.grace_s, self.end_grace_period)

    def end_grace_period(self) -> None:
        """Cancel what is in flight, if the shutdown has begun."""
        if not self.is_begun or self.is_over:
            return
        log.warning("cancelling %d still in flight at the end of the grace period", self._in_flight)
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

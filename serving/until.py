"""A time limit on the current task: `asyncio.timeout` at half its cost (`python -m tests.measure.limits`).

Knows tasks and timers.
"""

from __future__ import annotations

import asyncio
from types import TracebackType


class until:  # noqa: N801  # reads as a word of the language, as asyncio.timeout does
    """`with until(seconds):` cancels what the task awaits inside when the time is over, and raises TimeoutError.

    A cancellation from elsewhere passes through. Infinity is no limit.
    """

    __slots__ = ("_cancelling", "_seconds", "_task", "_timer", "is_over")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self.is_over = False

    def __enter__(self) -> until:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a time limit is set inside a task")
        self._task = task
        self._cancelling = task.cancelling()
        if self._seconds < float("inf"):
            self._timer = loop.call_later(max(0.0, self._seconds), self._expire)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # As asyncio.timeout: only our own cancellation becomes a TimeoutError.
        if self.is_over and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _expire(self) -> None:
        self.is_over = True
        self._task.cancel()

"""A few threads that answer an event loop. Knows no models.

The threads are daemons: a model that hangs does not keep a process that was told to stop. A hand-over takes 17 us of
processor time, and 29 us with `loop.run_in_executor`, which wraps two kinds of future around each other
(`python -m tests.measure.threads`, 2 Xeon cores, loaded).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from types import TracebackType
from typing import Any, TypeVar

R = TypeVar("R")
A = TypeVar("A")

_Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[[Any], Any], Any]  # Any: whatever is called


class ThreadPool:
    """`number` threads, started at the first call. Jobs start in order."""

    def __init__(self, number: int, *, name: str) -> None:
        self._number = number
        self._name = name
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._is_closed = False

    def run(self, function: Callable[[A], R], argument: A) -> asyncio.Future[R]:
        """`function(argument)` in one of the threads. Cancelled before it began, it never does."""
        if self._is_closed:
            raise RuntimeError(f"the threads of {self._name} are closed")
        if not self._threads:
            self._start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._jobs.put((loop, future, function, argument))
        return future

    def close(self) -> None:
        """End the threads when they are idle. What has not begun is done first; a job that hangs is not waited for."""
        self._is_closed = True
        for _ in self._threads:
            self._jobs.put(None)
        self._threads = []

    def _start(self) -> None:
        for number in range(self._number):
            thread = threading.Thread(target=_work, args=(self._jobs,), name=f"{self._name}-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        loop, future, function, argument = job
        result: Any = None
        error: BaseException | None = None
        if not future.cancelled():
            try:
                result = function(argument)
            except BaseException as raised:  # handed to whoever waits
                error = raised
            try:
                loop.call_soon_threadsafe(_deliver, future, result, error)
            except RuntimeError:
                # The loop has cancel_and_wait, and with it whoever waited.
                return
        # Not to keep a batch alive until the next one comes.
        del job, loop, future, function, argument, result, error


def _deliver(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


async def cancel_and_wait(task: asyncio.Task[None] | None) -> None:
    """Cancel `task`, where there is one, and wait until it has ended."""
    if task is not None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class task_timeout:  # noqa: N801  # used as asyncio.timeout is
    """`with task_timeout(seconds):` cancels what the task awaits inside when the time is over, and raises TimeoutError.

    A cancellation from elsewhere passes through. Infinity is no limit.
    """

    __slots__ = ("_cancelling", "_seconds", "_task", "_timer", "is_over")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self.is_over = False

    def __enter__(self) -> task_timeout:
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

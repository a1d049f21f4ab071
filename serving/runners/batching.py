"""Group commit: what waits while a call is in flight goes as one batch when it returns. Knows no model and no HTTP.

There is no timer that gathers: an idle queue adds no wait, and a busy one batches most. One queue per runner, so a busy
model does not delay another.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from models.errors import DeadlineExceeded, Overloaded, PlatformError, PredictionFailed
from serving.concurrency import task_timeout
from serving.context import current_context, current_request_id

T = TypeVar("T")
R = TypeVar("R")

TOO_LATE = "the model did not answer in time"
# Where two versions take turns in the queue, batches of neighbours alone would be of one item. So much is looked at.
MAX_PASSED_OVER = 256


@dataclass(slots=True, eq=False)
class QueuedCall(Generic[T, R]):
    """One request's share of a batch: stays whole, whatever its number of rows.

    Only items with equal `key` (element type and shape of a row, say) go into one batch.
    """

    payload: T
    rows: int
    size_bytes: int
    deadline: float
    key: Hashable
    request_id: str
    traceparent: str
    is_gone: Callable[[], bool]
    answer: asyncio.Future[R]
    batch: _Batch | None = None
    is_queued: bool = False


@dataclass(slots=True, eq=False)
class _Batch:
    """One call in flight: cancelled when nobody waits for any of its items."""

    waiting: int
    task: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Bounds of one runner's queue. `calls_in_flight` calls to the runner may be under way at one time."""

    max_batch_rows: int = 256
    max_batch_bytes: int = 32 << 20
    max_queue_rows: int = 4096
    calls_in_flight: int = 1


class QueueGauge(Protocol):
    """Told what the queue does, for metrics."""

    def batch(self, rows: int, items: int, queued_rows: int) -> None: ...

    def shed(self) -> None: ...

    def up(self, is_up: bool) -> None: ...


Call = Callable[[Sequence[QueuedCall[T, R]]], Awaitable[Sequence[R | Exception]]]


@dataclass(eq=False)
class DynamicBatcher(Generic[T, R]):
    """Queue in front of one runner.

    `call` answers a batch: one result or one exception per item, in order. An exception that it raises is every item's.
    Items of one key start in the order in which they came, and the first item of all is always in the next batch.
    """

    call: Call[T, R]
    limits: BatchLimits = field(default_factory=BatchLimits)
    gauge: QueueGauge | None = None
    clock: Callable[[], float] = time.monotonic
    queued_rows: int = 0
    in_flight: int = 0
    _queue: deque[QueuedCall[T, R]] = field(default_factory=deque)
    _dead: int = 0
    _batches: set[_Batch] = field(default_factory=set)

    async def submit(self, payload: T, *, rows: int, size_bytes: int, deadline: float, key: Hashable = None) -> R:
        """Wait for the answer to `payload`. `deadline` is in `clock()` seconds.

        Raises Overloaded at once when the queue is full, DeadlineExceeded at the deadline, and what `call` gives.
        A cancelled or late item is never started; a call whose every item was given up is cancelled.
        """
        left_s = deadline - self.clock()
        if left_s <= 0:
            raise DeadlineExceeded(TOO_LATE)
        if self._queue and self.queued_rows + rows > self.limits.max_queue_rows:
            if self.gauge is not None:
                self.gauge.shed()
            raise Overloaded("too many requests wait for this model")
        loop = asyncio.get_running_loop()
        caller = current_context()
        answer: asyncio.Future[R] = loop.create_future()
        item = QueuedCall(
            payload,
            rows,
            size_bytes,
            deadline,
            key,
            current_request_id(),
            caller.traceparent,
            caller.is_disconnected,
            answer,
        )
        if not self._queue and self.in_flight < self.limits.calls_in_flight:
            return await self._run_alone(item, left_s)
        item.is_queued = True
        self._queue.append(item)
        self.queued_rows += rows
        self._start_batches()
        timer = loop.call_later(left_s, _expire, answer) if left_s < float("inf") else None
        try:
            return await answer
        finally:
            if timer is not None:
                timer.cancel()
            self._given_up(item)

    def refuse_waiting(self, error: PlatformError) -> None:
        """Fail every item that has not started, each with its own copy of `error`."""
        waiting, self._queue, self.queued_rows, self._dead = self._queue, deque(), 0, 0
        for item in waiting:
            item.is_queued = False
            _settle(item.answer, _own_copy(error))

    def _given_up(self, item: QueuedCall[T, R]) -> None:
        """Called when nobody waits for `item` any more, answered or not."""
        batch = item.batch
        if batch is None:
            if item.is_queued:
                self._forget(item)
            return
        item.batch = None
        batch.waiting -= 1
        if batch.waiting == 0 and batch.task is not None and not batch.task.done() and batch in self._batches:
            batch.task.cancel()

    def _forget(self, item: QueuedCall[T, R]) -> None:
        """Take a given-up item out of the queue: a hung runner's queue must not fill with the dead."""
        item.is_queued = False
        self.queued_rows -= item.rows
        self._dead += 1
        # Removing each one when it dies would walk the queue every time.
        if 2 * self._dead >= len(self._queue):
            self._queue = deque(each for each in self._queue if each.is_queued)
            self._dead = 0

    def _start_batches(self) -> None:
        while self._queue and self.in_flight < self.limits.calls_in_flight:
            items = self._take()
            if not items:
                continue
            batch = _Batch(waiting=len(items))
            for item in items:
                item.batch = batch
            self.in_flight += 1
            self._batches.add(batch)
            batch.task = asyncio.get_running_loop().create_task(self._run(batch, items))

    def _take(self) -> list[QueuedCall[T, R]]:
        """The next batch: the first item and those like it, as many as fit. What is not like it keeps its place."""
        limits, now = self.limits, self.clock()
        taken: list[QueuedCall[T, R]] = []
        passed_over: list[QueuedCall[T, R]] = []
        rows = size_bytes = 0
        while self._queue and len(passed_over) < MAX_PASSED_OVER:
            item = self._queue[0]
            if taken and item.is_queued:
                if item.key != taken[0].key:
                    passed_over.append(self._queue.popleft())
                    continue
                if rows + item.rows > limits.max_batch_rows or size_bytes + item.size_bytes > limits.max_batch_bytes:
                    break
            self._queue.popleft()
            if not item.is_queued:
                self._dead -= 1
                continue
            item.is_queued = False
            self.queued_rows -= item.rows
            if item.answer.done():
                continue
            if item.deadline <= now or item.is_gone():
                item.answer.set_exception(DeadlineExceeded(TOO_LATE))
                continue
            taken.append(item)
            rows += item.rows
            size_bytes += item.size_bytes
        self._queue.extendleft(reversed(passed_over))
        if taken and self.gauge is not None:
            self.gauge.batch(rows, len(taken), self.queued_rows)
        return taken

    async def _run_alone(self, item: QueuedCall[T, R], left_s: float) -> R:
        """A call for one item in its own caller's task, which an idle queue takes: no other task, no wake-up."""
        if self.gauge is not None:
            self.gauge.batch(item.rows, 1, self.queued_rows)
        self.in_flight += 1
        try:
            with task_timeout(left_s):
                results = await self.call([item])
            if len(results) != 1:
                raise PredictionFailed("the model gave another number of answers than it was asked for")
            result = results[0]
        except TimeoutError as error:
            raise DeadlineExceeded(TOO_LATE) from error
        except Exception as error:
            raise _own_copy(error) from error.__cause__
        finally:
            self.in_flight -= 1
            self._start_batches()
        if isinstance(result, Exception):
            raise result
        return result

    async def _run(self, batch: _Batch, items: list[QueuedCall[T, R]]) -> None:
        try:
            results = await self.call(items)
            if len(results) != len(items):
                raise PredictionFailed("the model gave another number of answers than it was asked for")
            for item, result in zip(items, results, strict=True):
                _settle(item.answer, result)
        except Exception as error:
            for item in items:
                _settle(item.answer, _own_copy(error))
        finally:
            # After a cancellation nobody waits: every answer is done already.
            self._batches.discard(batch)
            self.in_flight -= 1
            self._start_batches()


def _settle(answer: asyncio.Future[R], result: R | Exception) -> None:
    if answer.done():
        return
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)


def _own_copy(error: Exception) -> Exception:
    """An exception of its own for each caller: a shared one grows a traceback with every one that raises it."""
    if isinstance(error, PlatformError):
        return type(error)(*error.args)
    failed = PredictionFailed("the model could not answer")
    failed.__cause__ = error
    return failed


def _expire(answer: asyncio.Future[R]) -> None:
    if not answer.done():
        answer.set_exception(DeadlineExceeded(TOO_LATE))

"""Dynamic batching: payloads that wait while a call is in flight form the next batch.

No timer delays a payload: an idle queue adds no wait, and a busy one makes the largest batches. Each runner has its own
queue, so a busy model does not delay another.
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
from serving.context import current_caller, current_context, current_request_id
from serving.errors.exceptions import CallerLimitReached
from serving.shared_limit import SharedLimit

T = TypeVar("T")
R = TypeVar("R")

TOO_LATE = "the model did not answer in time"
# Items that a batch may skip. Where calls for two versions alternate, a batch of neighbours would have one item.
MAX_SKIPPED = 256


@dataclass(slots=True, eq=False)
class QueuedCall(Generic[T, R]):
    """One item of a batch. It is never split.

    Only items with equal `key`, such as element type and row shape, share a batch.
    """

    payload: T
    rows: int
    size_bytes: int
    deadline: float
    key: Hashable
    request_id: str
    traceparent: str
    is_disconnected: Callable[[], bool]
    answer: asyncio.Future[R]
    caller: str = ""
    batch: _Batch | None = None
    is_queued: bool = False


@dataclass(slots=True, eq=False)
class _Batch:
    """One call in flight. It is cancelled when no caller waits for its items."""

    waiting: int
    task: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Bounds of one runner's queue, and the number of calls to the runner that may be in flight."""

    max_batch_rows: int = 256
    max_batch_bytes: int = 32 << 20
    max_queue_rows: int = 4096
    calls_in_flight: int = 1


class QueueGauge(Protocol):
    """Metrics of a queue."""

    def batch(self, rows: int, items: int, queued_rows: int) -> None: ...

    def shed(self) -> None: ...

    def up(self, is_up: bool) -> None: ...


Call = Callable[[Sequence[QueuedCall[T, R]]], Awaitable[Sequence[R | Exception]]]


@dataclass(eq=False)
class DynamicBatcher(Generic[T, R]):
    """Batcher in front of one runner.

    `call` answers a batch with one result or exception per item, in order; an exception that it raises is the result of
    every item. Items of one key keep their order, and the oldest item is always in the next batch.
    """

    call: Call[T, R]
    limits: BatchLimits = field(default_factory=BatchLimits)
    gauge: QueueGauge | None = None
    clock: Callable[[], float] = time.monotonic
    in_flight: int = 0
    _queue: deque[QueuedCall[T, R]] = field(default_factory=deque)
    _discarded: int = 0
    _batches: set[_Batch] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._rows = SharedLimit(self.limits.max_queue_rows, name="rows of the queue of this model")

    @property
    def queued_rows(self) -> int:
        """The number of waiting rows."""
        return self._rows.used

    async def submit(self, payload: T, *, rows: int, size_bytes: int, deadline: float, key: Hashable = None) -> R:
        """Return the answer to `payload`. `deadline` is in `clock()` seconds.

        Raises Overloaded immediately when the queue is full, CallerLimitReached when the caller uses its share of it,
        DeadlineExceeded at the deadline, and the exception that is the item's result. A cancelled or late item is never
        started; a call is cancelled when all its items are.
        """
        remaining_s = deadline - self.clock()
        if remaining_s <= 0:
            raise DeadlineExceeded(TOO_LATE)
        loop = asyncio.get_running_loop()
        context = current_context()
        answer: asyncio.Future[R] = loop.create_future()
        item = QueuedCall(
            payload,
            rows,
            size_bytes,
            deadline,
            key,
            current_request_id(),
            context.traceparent,
            context.is_disconnected,
            answer,
        )
        if not self._queue and self.in_flight < self.limits.calls_in_flight:
            return await self._run_alone(item, remaining_s)
        self._enqueue(item)
        self._start_batches()
        timer = loop.call_later(remaining_s, _expire, answer) if remaining_s < float("inf") else None
        try:
            return await answer
        finally:
            if timer is not None:
                timer.cancel()
            self._release(item)

    def _enqueue(self, item: QueuedCall[T, R]) -> None:
        item.caller = current_caller()
        if self._queue:
            try:
                self._rows.check(item.caller, item.rows)
            except Overloaded as error:
                if self.gauge is not None:
                    self.gauge.shed()
                if isinstance(error, CallerLimitReached):
                    raise
                raise Overloaded("too many requests wait for this model") from error
        self._rows.add(item.caller, item.rows)
        item.is_queued = True
        self._queue.append(item)

    def refuse_waiting(self, error: PlatformError) -> None:
        """Fail every item that has not started, each with its own copy of `error`."""
        waiting, self._queue, self._discarded = self._queue, deque(), 0
        for item in waiting:
            if item.is_queued:
                self._dequeue(item)
            _resolve(item.answer, _copy_error(error))

    def _release(self, item: QueuedCall[T, R]) -> None:
        """Note that no caller waits for `item` any more, answered or not."""
        batch = item.batch
        if batch is None:
            if item.is_queued:
                self._discard(item)
            return
        item.batch = None
        batch.waiting -= 1
        if batch.waiting == 0 and batch.task is not None and not batch.task.done() and batch in self._batches:
            batch.task.cancel()

    def _discard(self, item: QueuedCall[T, R]) -> None:
        """Remove a cancelled item from the queue, so that the queue of a hung runner does not fill up with them."""
        self._dequeue(item)
        self._discarded += 1
        # To rebuild the queue for each item would take quadratic time.
        if 2 * self._discarded >= len(self._queue):
            self._queue = deque(each for each in self._queue if each.is_queued)
            self._discarded = 0

    def _dequeue(self, item: QueuedCall[T, R]) -> None:
        item.is_queued = False
        self._rows.release(item.caller, item.rows)

    def _start_batches(self) -> None:
        while self._queue and self.in_flight < self.limits.calls_in_flight:
            items = self._next_batch()
            if not items:
                continue
            batch = _Batch(waiting=len(items))
            for item in items:
                item.batch = batch
            self.in_flight += 1
            self._batches.add(batch)
            batch.task = asyncio.get_running_loop().create_task(self._run(batch, items))

    def _next_batch(self) -> list[QueuedCall[T, R]]:
        """Remove and return the oldest item and as many of the same key as fit. Other items keep their places."""
        limits, now = self.limits, self.clock()
        batch: list[QueuedCall[T, R]] = []
        skipped: list[QueuedCall[T, R]] = []
        rows = size_bytes = 0
        while self._queue and len(skipped) < MAX_SKIPPED:
            item = self._queue[0]
            if batch and item.is_queued:
                if item.key != batch[0].key:
                    skipped.append(self._queue.popleft())
                    continue
                if rows + item.rows > limits.max_batch_rows or size_bytes + item.size_bytes > limits.max_batch_bytes:
                    break
            self._queue.popleft()
            if not item.is_queued:
                self._discarded -= 1
                continue
            self._dequeue(item)
            if item.answer.done():
                continue
            if item.deadline <= now or item.is_disconnected():
                item.answer.set_exception(DeadlineExceeded(TOO_LATE))
                continue
            batch.append(item)
            rows += item.rows
            size_bytes += item.size_bytes
        self._queue.extendleft(reversed(skipped))
        if batch and self.gauge is not None:
            self.gauge.batch(rows, len(batch), self.queued_rows)
        return batch

    async def _run_alone(self, item: QueuedCall[T, R], remaining_s: float) -> R:
        """Call the runner for one item in its caller's task: an idle queue needs no further task and no wake-up."""
        if self.gauge is not None:
            self.gauge.batch(item.rows, 1, self.queued_rows)
        self.in_flight += 1
        try:
            with task_timeout(remaining_s):
                results = await self.call([item])
            if len(results) != 1:
                raise PredictionFailed("the model returned a wrong number of answers")
            result = results[0]
        except TimeoutError as error:
            raise DeadlineExceeded(TOO_LATE) from error
        except Exception as error:
            raise _copy_error(error) from error.__cause__
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
                raise PredictionFailed("the model returned a wrong number of answers")
            for item, result in zip(items, results, strict=True):
                _resolve(item.answer, result)
        except Exception as error:
            for item in items:
                _resolve(item.answer, _copy_error(error))
        finally:
            # After a cancellation no caller waits: every answer is done already.
            self._batches.discard(batch)
            self.in_flight -= 1
            self._start_batches()


def _resolve(answer: asyncio.Future[R], result: R | Exception) -> None:
    if answer.done():
        return
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)


def _copy_error(error: Exception) -> Exception:
    """Return a copy for one caller: the traceback of a shared exception grows with each `raise`."""
    if isinstance(error, PlatformError):
        return type(error)(*error.args)
    failed = PredictionFailed("the model could not answer")
    failed.__cause__ = error
    return failed


def _expire(answer: asyncio.Future[R]) -> None:
    if not answer.done():
        answer.set_exception(DeadlineExceeded(TOO_LATE))

"""Dynamic batching: payloads that wait while a call is in flight form the next batch.

No timer delays a payload: an idle queue adds no wait, and a busy one makes the largest batches. Each runner has its own
queue, so a busy model does not delay another. A queue can have another one ahead, whose items go first.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

from models.errors import DeadlineExceeded, Overloaded, PlatformError, PredictionFailed
from serving.concurrency import task_timeout
from serving.context import Priority, current_caller, current_context, current_request_id
from serving.errors.exceptions import CallerLimitReached
from serving.runners.queued_call import TOO_LATE, BatchInFlight, QueuedCall, copy_error, expire, resolve
from serving.shared_limit import Reservation, SharedLimit

T = TypeVar("T")
R = TypeVar("R")

# Items that a batch may skip. Where calls for two versions alternate, a batch of neighbours would have one item.
MAX_SKIPPED = 256
# An item that has waited this long behind another queue gets one call, so that it does not wait forever.
PATIENCE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Bounds of one runner's queue, and the number of calls to the runner that may be in flight."""

    max_batch_rows: int = 256
    max_batch_bytes: int = 32 << 20
    max_queue_rows: int = 4096
    calls_in_flight: int = 1


class QueueGauge(Protocol):
    """Metrics of the queues of a runner."""

    def batch(self, rows: int) -> None: ...

    def queued(self, rows: int, priority: Priority) -> None: ...

    def shed(self, priority: Priority) -> None: ...

    def up(self, is_up: bool) -> None: ...

    def replicas(self, up: int, number: int) -> None: ...


Call = Callable[[Sequence[QueuedCall[T, R]]], Awaitable[Sequence[R | Exception]]]


@dataclass(eq=False)
class DynamicBatcher(Generic[T, R]):
    """Batcher in front of one runner.

    `call` answers a batch with one result or exception per item, in order; an exception that it raises is the result of
    every item. Items of one key keep their order, and the oldest item is always in the next batch.

    The items of the queue `ahead` go first: this queue starts a call where that queue leaves one of the
    `calls_in_flight`, and one call after `PATIENCE_S`. No item ahead waits for two calls of this queue.
    """

    call: Call[T, R]
    limits: BatchLimits = field(default_factory=BatchLimits)
    gauge: QueueGauge | None = None
    clock: Callable[[], float] = time.monotonic
    priority: Priority = "interactive"
    ahead: DynamicBatcher[T, R] | None = None
    in_flight: int = 0
    _behind: DynamicBatcher[T, R] | None = None
    _last_end: float = float("-inf")
    _queue: deque[QueuedCall[T, R]] = field(default_factory=deque)
    _discarded: int = 0
    _batches: set[BatchInFlight] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._rows = SharedLimit(self.limits.max_queue_rows, name="rows of the queue of this model")
        if self.ahead is not None:
            self.ahead._behind = self

    @property
    def queued_rows(self) -> int:
        """The number of waiting rows."""
        return self._rows.used

    def reserve(self, rows: int) -> Reservation:
        """Count `rows`, which are submitted later as reserved, as waiting. Raises as `submit` for a full queue."""
        caller = current_caller()
        self._admit(caller, rows)
        return Reservation(self._rows, caller, rows)

    async def submit(
        self,
        payload: T,
        *,
        rows: int,
        size_bytes: int,
        deadline: float,
        key: Hashable = None,
        is_reserved: bool = False,
    ) -> R:
        """Return the answer to `payload`. `deadline` is in `clock()` seconds.

        Raises Overloaded immediately when the queue is full, unless a place `is_reserved`, CallerLimitReached when the
        caller uses its share of it, DeadlineExceeded at the deadline, and the exception that is the item's result. A
        cancelled or late item is never started; a call is cancelled when all its items are.
        """
        now = self.clock()
        remaining_s = deadline - now
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
            now,
        )
        if (
            not self._queue
            and self.in_flight < self.limits.calls_in_flight
            and (self.ahead is None or self._has_turn(now))
        ):
            return await self._run_alone(item, remaining_s)
        self._enqueue(item, is_reserved=is_reserved)
        self._start_batches()
        timer = loop.call_later(remaining_s, expire, answer) if remaining_s < float("inf") else None
        try:
            return await answer
        finally:
            if timer is not None:
                timer.cancel()
            self._release(item)

    def _enqueue(self, item: QueuedCall[T, R], *, is_reserved: bool) -> None:
        item.caller = current_caller()
        if not is_reserved:
            self._admit(item.caller, item.rows)
        self._rows.add(item.caller, item.rows)
        item.is_queued = True
        self._queue.append(item)
        self._report_queued()

    def _admit(self, caller: str, rows: int) -> None:
        """Raise where `rows` are too many. A queue without waiting rows takes any number."""
        if not self._rows.used:
            return
        try:
            self._rows.check(caller, rows)
        except Overloaded as error:
            if self.gauge is not None:
                self.gauge.shed(self.priority)
            if isinstance(error, CallerLimitReached):
                raise
            raise Overloaded("too many requests wait for this model") from error

    def refuse_waiting(self, error: PlatformError) -> None:
        """Fail every item that has not started, each with its own copy of `error`."""
        waiting, self._queue, self._discarded = self._queue, deque(), 0
        for item in waiting:
            if item.is_queued:
                self._dequeue(item)
            resolve(item.answer, copy_error(error))
        self._report_queued()

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
        self._report_queued()
        self._discarded += 1
        # To rebuild the queue for each item would take quadratic time.
        if 2 * self._discarded >= len(self._queue):
            self._queue = deque(each for each in self._queue if each.is_queued)
            self._discarded = 0

    def _dequeue(self, item: QueuedCall[T, R]) -> None:
        item.is_queued = False
        self._rows.release(item.caller, item.rows)

    def _end_call(self) -> None:
        self.in_flight -= 1
        if self.ahead is not None:
            self._last_end = self.clock()
        self._start_batches()

    def _report_queued(self) -> None:
        if self.gauge is not None:
            self.gauge.queued(self._rows.used, self.priority)

    def _has_turn(self, now: float) -> bool:
        """Return whether this queue may start a call although another one is ahead."""
        ahead = self.ahead
        if ahead is None:
            return True
        if not ahead._queue and self.in_flight + ahead.in_flight < self.limits.calls_in_flight:
            return True
        if self.in_flight or not self._queue or now - self._queue[0].queued_at < PATIENCE_S:
            return False
        # No item ahead has waited during the last call.
        return not ahead._queue or ahead._queue[0].queued_at > self._last_end

    def _start_batches(self) -> None:
        while self._queue and self.in_flight < self.limits.calls_in_flight and self._has_turn(now := self.clock()):
            items = self._next_batch(now)
            if not items:
                continue
            batch = BatchInFlight(waiting=len(items))
            for item in items:
                item.batch = batch
            self.in_flight += 1
            self._batches.add(batch)
            batch.task = asyncio.get_running_loop().create_task(self._run(batch, items))
        if self._behind is not None and self._behind._queue:
            self._behind._start_batches()

    def _next_batch(self, now: float) -> list[QueuedCall[T, R]]:
        """Remove and return the oldest item and as many of the same key as fit. Other items keep their places."""
        limits = self.limits
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
            self.gauge.batch(rows)
        self._report_queued()
        return batch

    async def _run_alone(self, item: QueuedCall[T, R], remaining_s: float) -> R:
        """Call the runner for one item in its caller's task: an idle queue needs no further task and no wake-up."""
        if self.gauge is not None:
            self.gauge.batch(item.rows)
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
            raise copy_error(error) from error.__cause__
        finally:
            self._end_call()
        if isinstance(result, Exception):
            raise result
        return result

    async def _run(self, batch: BatchInFlight, items: list[QueuedCall[T, R]]) -> None:
        try:
            results = await self.call(items)
            if len(results) != len(items):
                raise PredictionFailed("the model returned a wrong number of answers")
            for item, result in zip(items, results, strict=True):
                resolve(item.answer, result)
        except Exception as error:
            for item in items:
                resolve(item.answer, copy_error(error))
        finally:
            # After a cancellation no caller waits: every answer is done already.
            self._batches.discard(batch)
            self._end_call()

"""Write feedback in batches: while one transaction is written, later events wait and form the next one.

One thread of this process writes; several gateway processes take turns at the database. An event is acknowledged when
its transaction is durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from models.recommender.events import Event
from serving.context import current_caller
from serving.shared_limit import SharedLimit

# Writes events durably before it returns, and returns True for each new one. Blocks; raises FeedbackUnavailable.
Append = Callable[[Sequence[Event]], list[bool]]

MAX_WAITING = 20_000
MAX_COMMIT = 5_000


@dataclass(frozen=True, slots=True)
class _Waiting:
    """The events of one request, and the future of its result."""

    events: Sequence[Event]
    future: asyncio.Future[list[bool]]
    caller: str


class FeedbackWriter:
    """Writes events with `append`. Belongs to one event loop."""

    def __init__(self, append: Append, *, max_waiting: int = MAX_WAITING) -> None:
        self._append = append
        self._limit = SharedLimit(max_waiting, name="places for events of feedback")
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None

    async def write(self, events: Sequence[Event]) -> list[bool]:
        """Return when `events` are durable: True for each that is new.

        Raises FeedbackUnavailable, and LimitReached and CallerLimitReached when too many wait; nothing was acknowledged
        then.
        """
        caller = current_caller()
        self._limit.acquire(caller, len(events))
        future: asyncio.Future[list[bool]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(events, future, caller))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        return await future

    def open(self) -> None:
        """Open the log by an empty write in the thread."""
        self._thread().submit(self._append, [])

    def close(self) -> None:
        """Stop the thread after its current write. A later `write` starts a new one."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)
            self._pool = None

    def _thread(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="feedback")
        return self._pool

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = self._next()
            events = [event for each in batch for event in each.events]
            try:
                is_new = await loop.run_in_executor(self._thread(), self._append, events)
            except Exception as error:
                for each in batch:
                    if not each.future.done():
                        each.future.set_exception(error)
                continue
            start = 0
            for each in batch:
                # The client may have disconnected; its events are written anyway.
                if not each.future.done():
                    each.future.set_result(is_new[start : start + len(each.events)])
                start += len(each.events)

    def _next(self) -> list[_Waiting]:
        end = size = 0
        while end < len(self._waiting) and (end == 0 or size + len(self._waiting[end].events) <= MAX_COMMIT):
            size += len(self._waiting[end].events)
            end += 1
        batch, self._waiting = self._waiting[:end], self._waiting[end:]
        for each in batch:
            self._limit.release(each.caller, len(each.events))
        return batch

"""Write feedback in batches: while one transaction is written, later events wait and form the next one.

One thread of this process writes; several gateway processes take turns at the database. An event is acknowledged when
its transaction is durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from models.recommender.events import NewEvent
from serving.context import current_caller
from serving.errors.exceptions import KeyReused
from serving.shared_limit import SharedLimit

# Writes the events of several requests durably before it returns: for each request True for each event that is new, or
# None when a key was used for other content and nothing was written. Blocks; raises FeedbackUnavailable.
Append = Callable[[Sequence[Sequence[NewEvent]]], Sequence[list[bool] | None]]

MAX_WAITING = 20_000
MAX_COMMIT = 5_000


@dataclass(frozen=True, slots=True)
class _Waiting:
    """The events of one request, and the future of its result."""

    events: Sequence[NewEvent]
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

    async def write(self, events: Sequence[NewEvent]) -> list[bool]:
        """Return when `events` are durable: True for each that is new.

        Raises FeedbackUnavailable, LimitReached and CallerLimitReached when too many wait, and KeyReused when one of
        their keys was used for another event; none of them was written then.
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
            requests = [each.events for each in batch]
            try:
                outcomes = await loop.run_in_executor(self._thread(), self._append, requests)
            except Exception as error:
                for each in batch:
                    if not each.future.done():
                        each.future.set_exception(error)
                continue
            for each, is_new in zip(batch, outcomes, strict=True):
                # The client may have disconnected; its events are written anyway.
                if each.future.done():
                    continue
                if is_new is None:
                    reused = KeyReused("this idempotency key was used for other events; use a new key")
                    each.future.set_exception(reused)
                else:
                    each.future.set_result(is_new)

    def _next(self) -> list[_Waiting]:
        end = size = 0
        while end < len(self._waiting) and (end == 0 or size + len(self._waiting[end].events) <= MAX_COMMIT):
            size += len(self._waiting[end].events)
            end += 1
        batch, self._waiting = self._waiting[:end], self._waiting[end:]
        for each in batch:
            self._limit.release(each.caller, len(each.events))
        return batch

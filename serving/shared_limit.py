"""A limit that all callers share, of which no caller can take everything.

One caller may use at most half of what the other callers leave: of 8 places the first caller gets 4, the next 2, and
each further one 1. A caller that uses nothing gets what it asks for while the limit is not reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from serving.concurrency import ThreadPool
from serving.context import current_caller
from serving.errors.exceptions import CallerLimitReached, LimitReached

R = TypeVar("R")


class SharedLimit:
    """A limit of one process. `name` completes "all 8 ...". Belongs to one event loop.

    The empty caller, which is work of the service itself, has no share: only the limit applies.
    """

    def __init__(self, limit: int, *, name: str) -> None:
        self.limit = limit
        self.used = 0
        self._name = name
        self._by_caller: dict[str, int] = {}
        self._waiting: list[asyncio.Future[None]] = []

    def acquire(self, caller: str, amount: int = 1) -> None:
        """Take `amount`. Raises as `check`."""
        self.check(caller, amount)
        self.add(caller, amount)

    def check(self, caller: str, amount: int = 1) -> None:
        """Raise LimitReached where `amount` is too much, and CallerLimitReached where the caller uses its share."""
        if self.used + amount > self.limit:
            raise LimitReached(f"all {self.limit} {self._name} are in use")
        own = self._by_caller.get(caller, 0)
        if caller and own and own + amount > share_of(self.limit, self.used - own):
            raise CallerLimitReached(
                f"you use {own} of the {self.limit} {self._name}; a caller may use half of what the others leave"
            )

    def add(self, caller: str, amount: int = 1) -> None:
        """Take `amount` without a check."""
        self.used += amount
        self._by_caller[caller] = self._by_caller.get(caller, 0) + amount

    def release(self, caller: str, amount: int = 1) -> None:
        """Give `amount` back."""
        self.used -= amount
        left = self._by_caller[caller] - amount
        if left:
            self._by_caller[caller] = left
        else:
            del self._by_caller[caller]
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    @contextmanager
    def hold(self, amount: int = 1) -> Iterator[None]:
        """Hold `amount` for the current caller within the block. Raises as `acquire`."""
        caller = current_caller()
        self.acquire(caller, amount)
        try:
            yield
        finally:
            self.release(caller, amount)

    async def wait(self, caller: str) -> None:
        """Take one place; wait for it where `acquire` raises."""
        while True:
            try:
                self.acquire(caller)
                return
            except (LimitReached, CallerLimitReached):
                waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiting.append(waiter)
                await waiter


class Reservation:
    """An amount of a limit that is given back in pieces, and at the end of the block. It is not checked."""

    def __init__(self, limit: SharedLimit, caller: str, amount: int) -> None:
        self._limit = limit
        self._caller = caller
        self._left = amount
        limit.add(caller, amount)

    def release(self, amount: int) -> None:
        """Give `amount` back, or what is left of it."""
        amount = min(amount, self._left)
        if amount:
            self._left -= amount
            self._limit.release(self._caller, amount)

    def __enter__(self) -> Reservation:
        return self

    def __exit__(self, *_: object) -> None:
        self.release(self._left)


class SharedThreads:
    """Threads that all callers share. The calls of a caller that uses its share wait."""

    def __init__(self, number: int, *, name: str) -> None:
        self._limit = SharedLimit(number, name=name)
        self._pool = ThreadPool(number, name=name)

    async def run(self, function: Callable[[], R], *, discard: Callable[[R], None] = lambda result: None) -> R:
        """Run `function` in a thread. A cancelled call holds its thread to its end; `discard` then gets the result."""
        caller = current_caller()
        await self._limit.wait(caller)
        future = self._pool.run(lambda _: function(), None)
        future.add_done_callback(lambda _: self._limit.release(caller))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            future.add_done_callback(lambda done: None if done.exception() else discard(done.result()))
            raise


def share_of(limit: int, used_by_others: int) -> int:
    """Return how much of `limit` one caller may use: half of what the others leave, at least 1."""
    return max(1, (limit - used_by_others) // 2)

"""A bounded share of the event loop's time, for requests that need no key.

Each request has a cost in seconds. While the share is used up, requests wait and take turns by caller: start-time fair
queueing (Goyal, Vin and Cheng, 1996), so that one caller with many connections does not delay the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import math
from dataclasses import dataclass, field
from typing import Final

# How much unused time is kept: a page with its files costs 10 ms, and is not delayed.
BURST_S: Final = 0.5


@dataclass(order=True, slots=True)
class _Waiting:
    """A request that waits. `start` orders the requests by what their callers have used."""

    start: float
    number: int
    cost_s: float = field(compare=False)
    turn: asyncio.Future[None] = field(compare=False)


class LoopShare:
    """At most `share` of the time of the event loop, 0 to 1."""

    def __init__(self, share: float) -> None:
        self._share = share
        # When the time that was used is paid.
        self._free_at = -math.inf
        self._waiting: list[_Waiting] = []
        self._numbers = itertools.count()
        # By caller, while requests wait: the start of its next request.
        self._next_start: dict[str, float] = {}
        self._start = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, caller: str, cost_s: float, *, max_wait_s: float) -> None:
        """Use `cost_s` in the turn of `caller`. After `max_wait_s` return without it: a debt would delay the others."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if not self._waiting and self._free_at <= now:
            self._use(cost_s, now)
            return
        start = max(self._start, self._next_start.get(caller, 0.0))
        self._next_start[caller] = start + cost_s
        waiting = _Waiting(start, next(self._numbers), cost_s, loop.create_future())
        heapq.heappush(self._waiting, waiting)
        self._schedule(loop)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max_wait_s):
                await waiting.turn

    def _release(self) -> None:
        """Give the next requests their turns."""
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._waiting and self._free_at <= now:
            waiting = heapq.heappop(self._waiting)
            if not waiting.turn.done():
                self._start = waiting.start
                self._use(waiting.cost_s, now)
                waiting.turn.set_result(None)
        if self._waiting:
            self._schedule(loop)
        else:
            self._next_start.clear()
            self._start = 0.0

    def _use(self, cost_s: float, now: float) -> None:
        self._free_at = max(self._free_at, now - BURST_S) + cost_s / self._share

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is None:
            self._timer = loop.call_at(self._free_at, self._release)

"""Calls a function at given times with a timerfd: the timers of the event loop have a resolution of one millisecond."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections.abc import Callable, Sequence

_CLOCK_MONOTONIC = 1


class Schedule:
    """A sequence of calls `send(number, due, now)` at the given times of the monotonic clock, in ascending order.

    Linux only. Python 3.13 has `os.timerfd_create`; older versions need libc.
    """

    def __init__(self, times: Sequence[float], send: Callable[[int, float, float], None]) -> None:
        self._times = times
        self._send = send
        self._next = 0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._libc = ctypes.CDLL(None, use_errno=True)

    async def run(self) -> None:
        """Wait until the last call was made. Raises OSError if the timer cannot be created."""
        loop = asyncio.get_running_loop()
        descriptor = self._libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK)
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        try:
            loop.add_reader(descriptor, self._expired, descriptor)
            self._set(descriptor)
            await self._done
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)

    def _expired(self, descriptor: int) -> None:
        try:
            os.read(descriptor, 8)
        except BlockingIOError:
            return
        now = time.monotonic()
        while self._next < len(self._times) and self._times[self._next] <= now:
            self._send(self._next, self._times[self._next], now)
            self._next += 1
        if self._next < len(self._times):
            self._set(descriptor)
        elif not self._done.done():
            self._done.set_result(None)

    def _set(self, descriptor: int) -> None:
        wait_ns = max(1, int((self._times[self._next] - time.monotonic()) * 1e9))
        # struct itimerspec: interval (s, ns), then first expiration (s, ns).
        spec = (ctypes.c_long * 4)(0, 0, wait_ns // 1_000_000_000, wait_ns % 1_000_000_000)
        if self._libc.timerfd_settime(descriptor, 0, ctypes.byref(spec), None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")

"""Run tests as coroutines, check that no task remains, and wait for conditions."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, Final, ParamSpec

P = ParamSpec("P")
# What one socket of this process sends to another arrives at once.
_QUIET_S: Final = 0.002


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an `async def` test in a new event loop."""
    return _run(test, None)


def in_simulated_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an `async def` test in an event loop whose clock advances only while no task and no socket is ready.

    It advances to the next timer at once. A test that waits is quick, and a machine under load fires no timer early.
    The test may use sockets of this process, but neither threads nor other processes: time would pass without them.
    """
    return _run(test, _SimulatedTimeLoop)


class _SimulatedTimeLoop(asyncio.SelectorEventLoop):
    """An event loop with simulated time."""

    def __init__(self) -> None:
        self._simulated = _SimulatedTime()
        super().__init__(self._simulated)

    def time(self) -> float:
        return self._simulated.now


class _SimulatedTime(selectors.DefaultSelector):
    """A selector that waits in simulated time."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events: list[tuple[selectors.SelectorKey, int]] = super().select(timeout and min(timeout, _QUIET_S))
        if timeout and not events:
            self.now += timeout
        return events


def _run(
    test: Callable[P, Coroutine[Any, Any, None]], loop_factory: Callable[[], asyncio.AbstractEventLoop] | None
) -> Callable[P, None]:
    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            before = asyncio.all_tasks()
            async with asyncio.timeout(180):
                await test(*args, **kwargs)
            # Iterations of the loop instead of time, so that ending tasks can finish on a slow machine.
            for _ in range(50):
                if not (left := asyncio.all_tasks() - before):
                    return
                await asyncio.sleep(0.002)
            raise AssertionError(f"left behind: {left}")

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(main())

    return run


async def until(condition: Callable[[], object]) -> None:
    """Wait until `condition()` holds, at most two minutes."""
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.005)

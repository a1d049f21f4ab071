"""Run tests as coroutines, check that no task remains, and wait for conditions."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

P = ParamSpec("P")


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an `async def` test in a new event loop."""

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

        asyncio.run(main())

    return run


async def until(condition: Callable[[], object]) -> None:
    """Wait until `condition()` holds, at most two minutes."""
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.005)

"""Lets a test be a coroutine that leaves no task behind, and wait for what it is about."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

P = ParamSpec("P")


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an `async def` test in an event loop of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            before = asyncio.all_tasks()
            async with asyncio.timeout(180):
                await test(*args, **kwargs)
            # Turns of the loop, not time: what is about to end gets them at any pace.
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

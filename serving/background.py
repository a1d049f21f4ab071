"""Tasks in the background, and how they end. Knows asyncio alone."""

from __future__ import annotations

import asyncio
from contextlib import suppress


async def ended(task: asyncio.Task[None] | None) -> None:
    """Cancel `task`, where there is one, and wait until it has ended."""
    if task is not None:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

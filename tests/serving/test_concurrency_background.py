from __future__ import annotations

import asyncio

from serving.concurrency import cancel_and_wait
from tests.serving.event_loop import in_loop


@in_loop
async def test_cancel_and_wait() -> None:
    events: list[str] = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            events.append("cleaned up")

    task = asyncio.create_task(forever())
    await asyncio.sleep(0)
    await cancel_and_wait(task)
    assert (events, task.cancelled()) == (["cleaned up"], True)
    await cancel_and_wait(task)
    await cancel_and_wait(None)

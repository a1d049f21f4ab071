from __future__ import annotations

import asyncio

from serving.concurrency import cancel_and_wait
from tests.serving.event_loop import in_loop


@in_loop
async def test_a_task_is_cancelled_and_waited_for_and_none_is_nothing() -> None:
    said: list[str] = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            said.append("cleared up")

    task = asyncio.create_task(forever())
    await asyncio.sleep(0)
    await cancel_and_wait(task)
    assert (said, task.cancelled()) == (["cleared up"], True)
    await cancel_and_wait(task)
    await cancel_and_wait(None)

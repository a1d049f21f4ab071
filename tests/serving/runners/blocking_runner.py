"""A runner that answers when a test allows it, and calls to it through a batcher."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from models.errors import InvalidInput
from serving.runners.batching import BatchLimits, DynamicBatcher
from serving.runners.queued_call import QueuedCall

LATER = 3600.0


class BlockingRunner:
    """A runner that multiplies by ten, and waits for `release` before each call."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.request_ids: list[list[str]] = []
        self.cancelled = 0
        self.running = 0
        self.most_running = 0
        self._open = asyncio.Semaphore(0)

    def release(self, calls: int = 1) -> None:
        for _ in range(calls):
            self._open.release()

    async def __call__(self, items: Sequence[QueuedCall[int, int]]) -> Sequence[int | Exception]:
        self.calls.append([item.payload for item in items])
        self.request_ids.append([item.request_id for item in items])
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await self._open.acquire()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        return [InvalidInput(f"not {item.payload}") if item.payload < 0 else 10 * item.payload for item in items]


def queue_of(gate: BlockingRunner, **limits: int) -> DynamicBatcher[int, int]:
    return DynamicBatcher(gate, BatchLimits(**limits))


def queue_behind(ahead: DynamicBatcher[int, int], gate: BlockingRunner) -> DynamicBatcher[int, int]:
    return DynamicBatcher(gate, ahead.limits, clock=ahead.clock, priority="batch", ahead=ahead)


def ask(
    queue: DynamicBatcher[int, int],
    value: int,
    *,
    rows: int = 1,
    size_bytes: int = 1,
    in_s: float = LATER,
    key: str = "",
) -> asyncio.Task[int]:
    deadline = queue.clock() + in_s
    return asyncio.create_task(queue.submit(value, rows=rows, size_bytes=size_bytes, deadline=deadline, key=key))


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)

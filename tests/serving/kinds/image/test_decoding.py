"""Images of the priority `batch` leave the decoding threads to the others."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np

from serving.context import Priority, set_priority
from serving.kinds.image.decoding import DecodingPool
from tests.serving.event_loop import in_loop, until

LATER = float("inf")


class Version:
    """A version whose decoder waits for a gate, and records what it decoded."""

    def __init__(self) -> None:
        self.order: list[bytes] = []
        self.gate = threading.Event()

    def decode(self, image: bytes) -> Any:
        self.order.append(image)
        self.gate.wait(60)
        return np.zeros((1, 1, 3), np.uint8)


@in_loop
async def test_an_image_waits_for_one_image_of_a_batch_at_most() -> None:
    version, pool = Version(), DecodingPool(threads=1, max_waiting=1000)

    def decode(image: bytes, priority: Priority) -> asyncio.Task[Any]:
        set_priority(priority)
        return asyncio.create_task(pool.decode([image], version, LATER))  # type: ignore[arg-type]  # decodes only

    flood = [decode(b"batch", "batch") for _ in range(20)]
    await until(lambda: version.order)
    one = decode(b"interactive", "interactive")
    await asyncio.sleep(0)
    version.gate.set()
    await asyncio.gather(one, *flood)
    assert version.order.index(b"interactive") == 1
    pool.close()

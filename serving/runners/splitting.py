"""Splitting of requests of more rows than a batch.

The parts of a request are separate calls. Each enters the queue when an earlier one has been answered, so that other
requests are answered in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import TypeVar

from models.errors import InputError
from serving.runners.batching import BatchLimits, DynamicBatcher
from serving.runners.interface import Payload

R = TypeVar("R")


def part_rows(rows: int, size_bytes: int, limits: BatchLimits) -> int:
    """Return the number of rows in each part of a request. Parts have about the same number of rows.

    A row of more bytes than a batch is a part of its own.
    """
    most = min(limits.max_batch_rows, max(1, limits.max_batch_bytes * rows // size_bytes))
    parts = -(-rows // most)
    return -(-rows // parts)


async def submit_in_parts(
    queue: DynamicBatcher[Payload, R], payload: Payload, *, size_bytes: int, deadline: float, key: Hashable
) -> list[R]:
    """Submit `payload` in parts, and return their answers in order.

    Raises as `DynamicBatcher.submit`. When a part fails or the caller is cancelled, the remaining parts are dropped.
    Rows that are not submitted yet count as waiting, up to half of the queue: no request fills the queue alone.
    """
    rows = len(payload)
    rows_of_part = part_rows(rows, size_bytes, queue.limits)
    starts = range(0, rows, rows_of_part)
    answers: list[R | None] = [None] * len(starts)
    remaining = iter(enumerate(starts))
    with queue.reserve(min(rows, max(rows_of_part, queue.limits.max_queue_rows // 2))) as reserved:

        async def submit_remaining() -> None:
            for index, start in remaining:
                part = payload[start : start + rows_of_part]
                reserved.release(len(part))
                try:
                    answers[index] = await queue.submit(
                        part,
                        rows=len(part),
                        size_bytes=size_bytes * len(part) // rows,
                        deadline=deadline,
                        key=key,
                        is_reserved=True,
                    )
                except InputError as error:
                    _locate(error, start)
                    raise

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(queue.limits.calls_in_flight, len(starts))):
                    group.create_task(submit_remaining())
        except BaseExceptionGroup as failures:
            error = failures.exceptions[0]
            raise error from error.__cause__
    return answers  # type: ignore[return-value]  # every part has its answer


def _locate(error: InputError, start: int) -> None:
    """Count the row in the location of a part's fault from the start of the request."""
    match error.location:
        case (int(row), *rest):
            error.location = (start + row, *rest)

"""Dynamic batching: cancelled and late items do not start, and leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import Sequence

import pytest

from models.errors import DeadlineExceeded, RunnerUnavailable
from serving.context import RequestContext, set_context
from serving.runners.batching import BatchLimits, DynamicBatcher
from serving.runners.queued_call import QueuedCall
from tests.serving.event_loop import in_loop
from tests.serving.runners.blocking_runner import BlockingRunner, ask, queue_of, settle


@in_loop
async def test_a_deadline_passes_even_when_the_runner_hangs() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate)
    started = time.monotonic()
    tasks = [ask(queue, value, in_s=0.05) for value in range(3)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, DeadlineExceeded) for each in results)
    assert time.monotonic() - started < 60
    # No caller waits for the hung call: it is cancelled, and the queued items never start.
    await settle()
    assert gate.calls == [[0]]
    assert gate.cancelled == 1
    assert queue.in_flight == queue.queued_rows == 0


@in_loop
async def test_a_deadline_that_has_passed_already_starts_nothing() -> None:
    gate = BlockingRunner()
    with pytest.raises(DeadlineExceeded):
        await ask(queue_of(gate), 1, in_s=0)
    assert gate.calls == []


@in_loop
async def test_an_item_whose_deadline_passed_in_the_queue_is_not_started() -> None:
    now = 100.0
    gate = BlockingRunner()
    queue = DynamicBatcher(gate, clock=lambda: now)
    tasks = [ask(queue, 0), ask(queue, 1, in_s=50), ask(queue, 2, in_s=500)]
    await settle()
    now = 200.0
    gate.release(2)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert (results[0], results[2]) == (0, 20)
    assert isinstance(results[1], DeadlineExceeded)
    assert gate.calls == [[0], [2]]


@in_loop
async def test_a_cancelled_item_is_not_started() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate)
    tasks = [ask(queue, value) for value in range(4)]
    await settle()
    tasks[2].cancel()
    await settle()
    gate.release(2)
    assert [await tasks[index] for index in (0, 1, 3)] == [0, 10, 30]
    assert gate.calls == [[0], [1, 3]]


@in_loop
async def test_an_item_of_a_disconnected_client_is_not_started() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate)
    first = ask(queue, 0)
    await settle()
    is_gone = False

    async def leaves() -> int:
        set_context(RequestContext(deadline=float("inf"), is_disconnected=lambda: is_gone))
        return await queue.submit(1, rows=1, size_bytes=1, deadline=float("inf"))

    second, third = asyncio.create_task(leaves()), ask(queue, 2)
    await settle()
    is_gone = True
    gate.release(2)
    assert (await first, await third) == (0, 20)
    with pytest.raises(DeadlineExceeded):
        await second
    assert gate.calls == [[0], [2]]


@in_loop
async def test_a_call_is_cancelled_only_when_all_its_callers_have_left() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate)
    first = ask(queue, 0)
    await settle()
    together = [ask(queue, 1), ask(queue, 2)]
    await settle()
    gate.release()
    assert await first == 0
    await settle()
    together[0].cancel()
    await settle()
    assert gate.cancelled == 0
    together[1].cancel()
    await settle()
    assert gate.cancelled == 1
    gate.release()
    assert await ask(queue, 3) == 30


@in_loop
async def test_a_lone_call_is_cancelled_with_its_caller() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate)
    alone = ask(queue, 0)
    await settle()
    alone.cancel()
    await settle()
    assert gate.cancelled == 1
    assert queue.in_flight == 0


@in_loop
async def test_waiting_items_can_be_refused() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate)
    tasks = [ask(queue, value) for value in range(3)]
    await settle()
    queue.refuse_waiting(RunnerUnavailable("down"))
    gate.release()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[0] == 0
    assert all(isinstance(each, RunnerUnavailable) for each in results[1:])
    assert queue.queued_rows == 0


class Payload:
    """A payload for weak references."""


@in_loop
async def test_the_queue_of_a_hung_runner_does_not_fill_with_cancelled_items() -> None:
    async def hang(items: Sequence[QueuedCall[Payload, int]]) -> Sequence[int | Exception]:
        await asyncio.Event().wait()
        return []

    queue: DynamicBatcher[Payload, int] = DynamicBatcher(hang, BatchLimits(max_queue_rows=10))
    first = asyncio.create_task(queue.submit(Payload(), rows=1, size_bytes=1, deadline=float("inf")))
    await settle()
    seen: list[weakref.ref[Payload]] = []
    for _ in range(200):
        payload = Payload()
        seen.append(weakref.ref(payload))
        late = asyncio.create_task(queue.submit(payload, rows=1, size_bytes=1, deadline=float("inf")))
        del payload
        await settle()
        late.cancel()
        await asyncio.gather(late, return_exceptions=True)
        del late
    gc.collect()
    assert queue.queued_rows == 0
    assert sum(each() is not None for each in seen) <= 2
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


@in_loop
async def test_nothing_is_left_after_many_requests() -> None:
    async def answer(items: Sequence[QueuedCall[Payload, int]]) -> Sequence[int | Exception]:
        await asyncio.sleep(0)
        return [1] * len(items)

    queue: DynamicBatcher[Payload, int] = DynamicBatcher(answer)
    seen: list[weakref.ref[Payload]] = []

    async def one() -> None:
        payload = Payload()
        seen.append(weakref.ref(payload))
        await queue.submit(payload, rows=1, size_bytes=1, deadline=time.monotonic() + 60)

    for _ in range(20):
        await asyncio.gather(*(one() for _ in range(50)))
    await settle()
    gc.collect()
    assert not any(each() for each in seen)
    assert len(asyncio.all_tasks()) == 1
    assert not [timer for timer in getattr(asyncio.get_running_loop(), "_scheduled", ()) if not timer.cancelled()][1:]

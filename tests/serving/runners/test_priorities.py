"""Queues by priority: batch calls wait for interactive ones, and delay none of them by more than one call."""

from __future__ import annotations

import asyncio

import pytest

from models.errors import RunnerUnavailable
from serving.context import Priority, set_priority
from serving.runners.batching import PATIENCE_S, BatchLimits, DynamicBatcher
from serving.runners.interface import RunnerResponse
from tests.serving.event_loop import in_loop
from tests.serving.runners.blocking_runner import BlockingRunner, ask, queue_behind, queue_of, settle
from tests.serving.runners.test_splitting import Client, rows, started
from tests.serving.runners.test_splitting import ask as predict


@in_loop
async def test_batch_items_wait_while_interactive_items_are_queued_or_in_flight() -> None:
    gate = BlockingRunner()
    ahead = queue_of(gate, max_batch_rows=2)
    behind = queue_behind(ahead, gate)
    tasks = [ask(ahead, 0)]
    await settle()
    tasks += [ask(behind, value) for value in (50, 51, 52)]
    await settle()
    tasks += [ask(ahead, value) for value in (1, 2, 3)]
    gate.release(9)
    await asyncio.gather(*tasks)
    assert gate.calls == [[0], [1, 2], [3], [50, 51], [52]]
    assert ahead.queued_rows == behind.queued_rows == 0


@in_loop
async def test_an_interactive_item_waits_for_no_batch_call() -> None:
    gate = BlockingRunner()
    ahead = queue_of(gate)
    behind = queue_behind(ahead, gate)
    flood = [ask(behind, value) for value in (50, 51, 52)]
    await settle()
    # The gateway sends it at once: the runner has the one batch call before it, and no other one follows.
    first = ask(ahead, 1)
    await settle()
    assert gate.calls == [[50], [1]]
    gate.release()
    await settle()
    assert gate.calls == [[50], [1]]
    gate.release(9)
    await asyncio.gather(first, *flood)
    assert gate.calls == [[50], [1], [51, 52]]


@in_loop
async def test_batch_items_use_free_calls_only() -> None:
    gate = BlockingRunner()
    ahead = queue_of(gate, calls_in_flight=2)
    behind = queue_behind(ahead, gate)
    tasks = [ask(ahead, 0), ask(behind, 50), ask(behind, 51)]
    await settle()
    assert gate.calls == [[0], [50]]
    gate.release(9)
    await asyncio.gather(*tasks)
    assert gate.calls == [[0], [50], [51]]


@in_loop
async def test_a_batch_item_that_has_waited_long_gets_one_call_and_delays_no_item_twice() -> None:
    now = 100.0
    gate = BlockingRunner()
    ahead: DynamicBatcher[int, int] = DynamicBatcher(gate, BatchLimits(max_batch_rows=1), clock=lambda: now)
    behind = queue_behind(ahead, gate)
    tasks = [ask(ahead, 0), ask(behind, 50), ask(behind, 51)]
    await settle()
    now += PATIENCE_S
    tasks += [ask(ahead, 1), ask(ahead, 2), ask(ahead, 3)]
    await settle()
    assert gate.calls == [[0], [50]]
    gate.release(2)
    await settle()
    now += PATIENCE_S
    tasks.append(ask(ahead, 4))
    for _ in range(9):
        await settle()
        gate.release()
    await asyncio.gather(*tasks)
    # 1, 2 and 3 have waited during the call of 50: 51 is overdue, and waits for them, but not for 4.
    assert gate.calls == [[0], [50], [1], [2], [3], [51], [4]]


@in_loop
async def test_cancelled_interactive_items_do_not_hold_batch_items_back() -> None:
    gate = BlockingRunner()
    ahead = queue_of(gate)
    behind = queue_behind(ahead, gate)
    first, waiting = ask(ahead, 0), [ask(ahead, value) for value in (1, 2, 3)]
    await settle()
    late = ask(behind, 50)
    await settle()
    for task in (first, *waiting):
        task.cancel()
    await settle()
    gate.release()
    assert await late == 500


@in_loop
async def test_the_priority_of_the_task_chooses_the_queue_and_is_in_the_frame() -> None:
    client = Client()
    handle = started(client)

    def predict_as(priority: Priority, value: float) -> asyncio.Task[RunnerResponse]:
        set_priority(priority)
        return predict(handle, rows(value))

    tasks = [predict_as("interactive", 0)]
    await settle()
    tasks += [predict_as("batch", 50), predict_as("interactive", 1)]
    client.release(9)
    await asyncio.gather(*tasks)
    assert [frame[0].priority for frame in client.frames] == ["interactive", "interactive", "batch"]


@in_loop
async def test_waiting_batch_items_are_refused_when_the_runner_is_down() -> None:
    client = Client()
    handle = started(client)
    first = predict(handle, rows(1))
    await settle()
    set_priority("batch")
    waiting = predict(handle, rows(2))
    await settle()
    handle.on_state(False)
    with pytest.raises(RunnerUnavailable):
        await waiting
    client.release()
    await first

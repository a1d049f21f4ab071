"""Dynamic batching: waiting items form batches, in order and within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from models.errors import InvalidInput, Overloaded, PredictionFailed, RunnerUnavailable
from serving.context import set_caller, set_request_id
from serving.errors.exceptions import CallerLimitReached
from serving.runners.batching import MAX_SKIPPED, DynamicBatcher
from serving.runners.queued_call import QueuedCall
from tests.serving.event_loop import in_loop
from tests.serving.runners.blocking_runner import BlockingRunner, ask, queue_of, settle


@in_loop
async def test_an_idle_queue_calls_at_once_and_alone() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate)
    first = ask(queue, 1)
    await settle()
    assert gate.calls == [[1]]
    gate.release()
    assert await first == 10


@in_loop
async def test_items_that_wait_during_a_call_form_one_batch_in_order() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate)
    tasks = [ask(queue, 0)]
    await settle()
    tasks += [ask(queue, value) for value in (1, 2, 3, 4)]
    await settle()
    assert gate.calls == [[0]]
    gate.release(2)
    assert await asyncio.gather(*tasks) == [0, 10, 20, 30, 40]
    assert gate.calls == [[0], [1, 2, 3, 4]]
    assert queue.in_flight == queue.queued_rows == 0


@in_loop
async def test_a_batch_is_bounded_by_rows_and_an_item_stays_whole() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate, max_batch_rows=4)
    tasks = [ask(queue, 0)]
    await settle()
    tasks += [ask(queue, 1, rows=3), ask(queue, 2, rows=2), ask(queue, 3, rows=1), ask(queue, 4, rows=9), ask(queue, 5)]
    gate.release(9)
    await asyncio.gather(*tasks)
    # 3 + 2 does not fit; 9 is more than a batch, and runs alone and whole; items keep their order.
    assert gate.calls == [[0], [1], [2, 3], [4], [5]]


@in_loop
async def test_a_batch_is_bounded_by_bytes() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate, max_batch_bytes=100)
    tasks = [ask(queue, 0)]
    await settle()
    tasks += [ask(queue, value, size_bytes=40) for value in (1, 2, 3)] + [ask(queue, 4, size_bytes=500)]
    gate.release(9)
    await asyncio.gather(*tasks)
    assert gate.calls == [[0], [1, 2], [3], [4]]


@in_loop
async def test_items_of_another_key_do_not_share_a_batch_and_keep_their_place() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate)
    tasks = [ask(queue, 0)]
    await settle()
    tasks += [ask(queue, 1, key="a"), ask(queue, 2, key="a"), ask(queue, 3, key="b"), ask(queue, 4, key="a")]
    gate.release(9)
    await asyncio.gather(*tasks)
    assert gate.calls == [[0], [1, 2, 4], [3]]


@in_loop
async def test_alternating_keys_form_two_batches_and_the_oldest_item_is_in_the_next_one() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate, max_batch_rows=3)
    tasks = [ask(queue, 0)]
    await settle()
    tasks += [ask(queue, value, key="ab"[value % 2]) for value in range(1, 11)]
    gate.release(9)
    await asyncio.gather(*tasks)
    assert gate.calls == [[0], [1, 3, 5], [2, 4, 6], [7, 9], [8, 10]]
    assert queue.queued_rows == 0


@in_loop
async def test_a_batch_skips_a_bounded_number_of_items() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate)
    tasks = [ask(queue, 0)]
    await settle()
    tasks += [ask(queue, 1, key="a"), *(ask(queue, 2, key="b") for _ in range(MAX_SKIPPED)), ask(queue, 3, key="a")]
    gate.release(9)
    await asyncio.gather(*tasks)
    assert [len(batch) for batch in gate.calls] == [1, 1, MAX_SKIPPED, 1]


@in_loop
async def test_as_many_calls_as_allowed_are_in_flight() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate, calls_in_flight=2)
    tasks = [ask(queue, value) for value in range(6)]
    await settle()
    assert gate.running == 2
    gate.release(9)
    await asyncio.gather(*tasks)
    assert gate.most_running == 2
    assert gate.calls == [[0], [1], [2, 3, 4, 5]]


@in_loop
async def test_a_full_queue_refuses_immediately() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate, max_queue_rows=3)
    tasks = [ask(queue, 0)]
    await settle()
    tasks += [ask(queue, 1, rows=2), ask(queue, 2, rows=1)]
    await settle()
    with pytest.raises(Overloaded):
        await ask(queue, 3)
    gate.release(9)
    assert await asyncio.gather(*tasks) == [0, 10, 20]
    assert await ask(queue, 4) == 40


@in_loop
async def test_one_caller_cannot_fill_the_queue() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate, max_queue_rows=8)
    tasks = [ask(queue, 0)]
    await settle()

    def ask_as(caller: str, value: int) -> asyncio.Task[int]:
        set_caller(lambda: caller)
        return ask(queue, value)

    greedy = [ask_as("key:ann", value) for value in range(6)]
    await settle()
    assert [task.done() for task in greedy] == [False] * 4 + [True] * 2
    for task in greedy[4:]:
        with pytest.raises(CallerLimitReached, match="you use 4 of the 8 rows of the queue"):
            await task
    tasks += [*greedy[:4], ask_as("key:bob", 6)]
    gate.release(9)
    assert await asyncio.gather(*tasks) == [0, 0, 10, 20, 30, 60]
    # What left the queue no longer counts.
    assert await ask_as("key:ann", 7) == 70


@in_loop
async def test_an_empty_queue_accepts_an_item_of_more_rows_than_it_holds() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate, max_queue_rows=3)
    tasks = [ask(queue, 0)]
    await settle()
    tasks.append(ask(queue, 1, rows=50))
    gate.release(2)
    assert await asyncio.gather(*tasks) == [0, 10]


@in_loop
async def test_one_failed_item_fails_alone() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate)
    tasks = [ask(queue, 0)]
    await settle()
    tasks += [ask(queue, 1), ask(queue, -2), ask(queue, 3)]
    gate.release(2)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[:2] == [0, 10]
    assert results[3] == 30
    assert isinstance(results[2], InvalidInput)
    assert str(results[2]) == "not -2"


@in_loop
async def test_a_failed_call_fails_each_item_with_its_own_exception() -> None:
    async def unavailable(items: Sequence[QueuedCall[int, int]]) -> Sequence[int | Exception]:
        await asyncio.sleep(0)
        raise RunnerUnavailable("down")

    queue: DynamicBatcher[int, int] = DynamicBatcher(unavailable)
    results = await asyncio.gather(*(ask(queue, value) for value in range(4)), return_exceptions=True)
    assert [str(each) for each in results] == ["down"] * 4
    assert len({id(each) for each in results}) == 4


@pytest.mark.parametrize("number", [1, 3])
def test_the_message_of_a_bug_is_not_shown(number: int) -> None:
    @in_loop
    async def test() -> None:
        async def broken(items: Sequence[QueuedCall[int, int]]) -> Sequence[int | Exception]:
            await asyncio.sleep(0)
            raise KeyError("the secret")

        queue: DynamicBatcher[int, int] = DynamicBatcher(broken)
        for each in await asyncio.gather(*(ask(queue, value) for value in range(number)), return_exceptions=True):
            assert isinstance(each, PredictionFailed)
            assert "secret" not in str(each)

    test()


@in_loop
async def test_a_wrong_number_of_answers_fails_every_item() -> None:
    async def short(items: Sequence[QueuedCall[int, int]]) -> Sequence[int | Exception]:
        await asyncio.sleep(0)
        return [item.payload for item in items][:-1]

    queue: DynamicBatcher[int, int] = DynamicBatcher(short)
    results = await asyncio.gather(*(ask(queue, value) for value in range(3)), return_exceptions=True)
    assert all(isinstance(each, PredictionFailed) for each in results)


@in_loop
async def test_request_ids_go_with_the_items() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate)

    async def named(value: int) -> int:
        set_request_id(f"id-{value}")
        return await queue.submit(value, rows=1, size_bytes=1, deadline=float("inf"))

    tasks = [asyncio.create_task(named(value)) for value in range(3)]
    await settle()
    gate.release(2)
    await asyncio.gather(*tasks)
    assert gate.request_ids == [["id-0"], ["id-1", "id-2"]]


@in_loop
async def test_a_busy_queue_does_not_delay_another() -> None:
    hung, free = BlockingRunner(), BlockingRunner()
    busy, other = queue_of(hung), queue_of(free)
    waiting = [ask(busy, value) for value in range(50)]
    await settle()
    free.release()
    assert await ask(other, 1) == 10
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)

"""Group commit: what waits goes together, in order and within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from models.errors import InvalidInput, Overloaded, PredictionFailed, RunnerUnavailable
from serving.context import set_request_id
from serving.runners.batching import MAX_SKIPPED, DynamicBatcher, QueuedCall
from tests.serving.event_loop import in_loop
from tests.serving.runners.blocking_runner import BlockingRunner, ask, queue_of, settle


@in_loop
async def test_an_idle_queue_calls_at_once_and_alone() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate)
    first = ask(queue, 1)
    await settle()
    assert gate.asked == [[1]]
    gate.let()
    assert await first == 10


@in_loop
async def test_what_waits_while_a_call_is_in_flight_goes_as_one_batch_in_order() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate)
    asked = [ask(queue, 0)]
    await settle()
    asked += [ask(queue, value) for value in (1, 2, 3, 4)]
    await settle()
    assert gate.asked == [[0]]
    gate.let(2)
    assert await asyncio.gather(*asked) == [0, 10, 20, 30, 40]
    assert gate.asked == [[0], [1, 2, 3, 4]]
    assert queue.in_flight == queue.queued_rows == 0


@in_loop
async def test_a_batch_is_bounded_by_rows_and_an_item_stays_whole() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate, max_batch_rows=4)
    asked = [ask(queue, 0)]
    await settle()
    asked += [ask(queue, 1, rows=3), ask(queue, 2, rows=2), ask(queue, 3, rows=1), ask(queue, 4, rows=9), ask(queue, 5)]
    gate.let(9)
    await asyncio.gather(*asked)
    # 3 + 2 does not fit; 9 is more than a batch, and goes alone and whole; nobody overtakes.
    assert gate.asked == [[0], [1], [2, 3], [4], [5]]


@in_loop
async def test_a_batch_is_bounded_by_bytes() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate, max_batch_bytes=100)
    asked = [ask(queue, 0)]
    await settle()
    asked += [ask(queue, value, size_bytes=40) for value in (1, 2, 3)] + [ask(queue, 4, size_bytes=500)]
    gate.let(9)
    await asyncio.gather(*asked)
    assert gate.asked == [[0], [1, 2], [3], [4]]


@in_loop
async def test_items_of_another_kind_do_not_share_a_batch_and_keep_their_place() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate)
    asked = [ask(queue, 0)]
    await settle()
    asked += [ask(queue, 1, key="a"), ask(queue, 2, key="a"), ask(queue, 3, key="b"), ask(queue, 4, key="a")]
    gate.let(9)
    await asyncio.gather(*asked)
    assert gate.asked == [[0], [1, 2, 4], [3]]


@in_loop
async def test_two_kinds_that_take_turns_are_two_batches_and_the_first_item_is_always_in_the_next() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate, max_batch_rows=3)
    asked = [ask(queue, 0)]
    await settle()
    asked += [ask(queue, value, key="ab"[value % 2]) for value in range(1, 11)]
    gate.let(9)
    await asyncio.gather(*asked)
    assert gate.asked == [[0], [1, 3, 5], [2, 4, 6], [7, 9], [8, 10]]
    assert queue.queued_rows == 0


@in_loop
async def test_only_so_many_of_another_kind_are_looked_at() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate)
    asked = [ask(queue, 0)]
    await settle()
    asked += [ask(queue, 1, key="a"), *(ask(queue, 2, key="b") for _ in range(MAX_SKIPPED)), ask(queue, 3, key="a")]
    gate.let(9)
    await asyncio.gather(*asked)
    assert [len(batch) for batch in gate.asked] == [1, 1, MAX_SKIPPED, 1]


@in_loop
async def test_as_many_calls_as_allowed_are_in_flight() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate, calls_in_flight=2)
    asked = [ask(queue, value) for value in range(6)]
    await settle()
    assert gate.running == 2
    gate.let(9)
    await asyncio.gather(*asked)
    assert gate.most_running == 2
    assert gate.asked == [[0], [1], [2, 3, 4, 5]]


@in_loop
async def test_over_a_full_queue_a_request_is_refused_at_once() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate, max_queue_rows=3)
    asked = [ask(queue, 0)]
    await settle()
    asked += [ask(queue, 1, rows=2), ask(queue, 2, rows=1)]
    await settle()
    with pytest.raises(Overloaded):
        await ask(queue, 3)
    gate.let(9)
    assert await asyncio.gather(*asked) == [0, 10, 20]
    assert await ask(queue, 4) == 40


@in_loop
async def test_a_request_of_more_rows_than_the_queue_holds_is_taken_when_nobody_waits() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate, max_queue_rows=3)
    asked = [ask(queue, 0)]
    await settle()
    asked.append(ask(queue, 1, rows=50))
    gate.let(2)
    assert await asyncio.gather(*asked) == [0, 10]


@in_loop
async def test_one_failed_item_fails_alone() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate)
    asked = [ask(queue, 0)]
    await settle()
    asked += [ask(queue, 1), ask(queue, -2), ask(queue, 3)]
    gate.let(2)
    said = await asyncio.gather(*asked, return_exceptions=True)
    assert said[:2] == [0, 10]
    assert said[3] == 30
    assert isinstance(said[2], InvalidInput)
    assert str(said[2]) == "not -2"


@in_loop
async def test_a_failed_call_fails_each_item_with_an_exception_of_its_own() -> None:
    async def gone(items: Sequence[QueuedCall[int, int]]) -> Sequence[int | Exception]:
        await asyncio.sleep(0)
        raise RunnerUnavailable("gone")

    queue: DynamicBatcher[int, int] = DynamicBatcher(gone)
    said = await asyncio.gather(*(ask(queue, value) for value in range(4)), return_exceptions=True)
    assert [str(each) for each in said] == ["gone"] * 4
    assert len({id(each) for each in said}) == 4


@pytest.mark.parametrize("number", [1, 3])
def test_a_bug_in_the_call_says_nothing_of_itself(number: int) -> None:
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
async def test_another_number_of_answers_is_a_failure_and_never_somebody_elses_answer() -> None:
    async def short(items: Sequence[QueuedCall[int, int]]) -> Sequence[int | Exception]:
        await asyncio.sleep(0)
        return [item.payload for item in items][:-1]

    queue: DynamicBatcher[int, int] = DynamicBatcher(short)
    said = await asyncio.gather(*(ask(queue, value) for value in range(3)), return_exceptions=True)
    assert all(isinstance(each, PredictionFailed) for each in said)


@in_loop
async def test_request_ids_go_with_the_items() -> None:
    gate = BlockingRunner()
    queue = queue_of(gate)

    async def named(value: int) -> int:
        set_request_id(f"id-{value}")
        return await queue.submit(value, rows=1, size_bytes=1, deadline=float("inf"))

    asked = [asyncio.create_task(named(value)) for value in range(3)]
    await settle()
    gate.let(2)
    await asyncio.gather(*asked)
    assert gate.request_ids == [["id-0"], ["id-1", "id-2"]]


@in_loop
async def test_a_busy_queue_does_not_delay_another() -> None:
    hung, free = BlockingRunner(), BlockingRunner()
    busy, other = queue_of(hung), queue_of(free)
    waiting = [ask(busy, value) for value in range(50)]
    await settle()
    free.let()
    assert await ask(other, 1) == 10
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)

"""Group commit: what waits goes together, in order, within bounds, and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import Sequence

import pytest

from models.errors import DeadlineExceeded, InvalidInput, Overloaded, PredictionFailed, RunnerUnavailable
from serving.batching import MAX_PASSED_OVER, BatchLimits, GroupCommit, Item
from serving.caller import Caller, set_caller
from serving.request_id import set_request_id
from tests.serving.running import in_loop

LATER = 3600.0


class Gate:
    """A runner that answers ten times what it is asked, when it is let."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.request_ids: list[list[str]] = []
        self.cancelled = 0
        self.running = 0
        self.most_running = 0
        self._open = asyncio.Semaphore(0)

    def let(self, calls: int = 1) -> None:
        for _ in range(calls):
            self._open.release()

    async def __call__(self, items: Sequence[Item[int, int]]) -> Sequence[int | Exception]:
        self.asked.append([item.payload for item in items])
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


def queue_of(gate: Gate, **limits: int) -> GroupCommit[int, int]:
    return GroupCommit(gate, BatchLimits(**limits))


def ask(
    queue: GroupCommit[int, int], value: int, *, rows: int = 1, size_bytes: int = 1, in_s: float = LATER, key: str = ""
) -> asyncio.Task[int]:
    deadline = queue.clock() + in_s
    return asyncio.create_task(queue.submit(value, rows=rows, size_bytes=size_bytes, deadline=deadline, key=key))


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@in_loop
async def test_an_idle_queue_calls_at_once_and_alone() -> None:
    gate = Gate()
    queue = queue_of(gate)
    first = ask(queue, 1)
    await settle()
    assert gate.asked == [[1]]
    gate.let()
    assert await first == 10


@in_loop
async def test_what_waits_while_a_call_is_in_flight_goes_as_one_batch_in_order() -> None:
    gate = Gate()
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
    gate = Gate()
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
    gate = Gate()
    queue = queue_of(gate, max_batch_bytes=100)
    asked = [ask(queue, 0)]
    await settle()
    asked += [ask(queue, value, size_bytes=40) for value in (1, 2, 3)] + [ask(queue, 4, size_bytes=500)]
    gate.let(9)
    await asyncio.gather(*asked)
    assert gate.asked == [[0], [1, 2], [3], [4]]


@in_loop
async def test_items_of_another_kind_do_not_share_a_batch_and_keep_their_place() -> None:
    gate = Gate()
    queue = queue_of(gate)
    asked = [ask(queue, 0)]
    await settle()
    asked += [ask(queue, 1, key="a"), ask(queue, 2, key="a"), ask(queue, 3, key="b"), ask(queue, 4, key="a")]
    gate.let(9)
    await asyncio.gather(*asked)
    assert gate.asked == [[0], [1, 2, 4], [3]]


@in_loop
async def test_two_kinds_that_take_turns_are_two_batches_and_the_first_item_is_always_in_the_next() -> None:
    gate = Gate()
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
    gate = Gate()
    queue = queue_of(gate)
    asked = [ask(queue, 0)]
    await settle()
    asked += [ask(queue, 1, key="a"), *(ask(queue, 2, key="b") for _ in range(MAX_PASSED_OVER)), ask(queue, 3, key="a")]
    gate.let(9)
    await asyncio.gather(*asked)
    assert [len(batch) for batch in gate.asked] == [1, 1, MAX_PASSED_OVER, 1]


@in_loop
async def test_as_many_calls_as_allowed_are_in_flight() -> None:
    gate = Gate()
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
    gate = Gate()
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
    gate = Gate()
    queue = queue_of(gate, max_queue_rows=3)
    asked = [ask(queue, 0)]
    await settle()
    asked.append(ask(queue, 1, rows=50))
    gate.let(2)
    assert await asyncio.gather(*asked) == [0, 10]


@in_loop
async def test_one_failed_item_fails_alone() -> None:
    gate = Gate()
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
    async def gone(items: Sequence[Item[int, int]]) -> Sequence[int | Exception]:
        await asyncio.sleep(0)
        raise RunnerUnavailable("gone")

    queue: GroupCommit[int, int] = GroupCommit(gone)
    said = await asyncio.gather(*(ask(queue, value) for value in range(4)), return_exceptions=True)
    assert [str(each) for each in said] == ["gone"] * 4
    assert len({id(each) for each in said}) == 4


@pytest.mark.parametrize("number", [1, 3])
def test_a_bug_in_the_call_says_nothing_of_itself(number: int) -> None:
    @in_loop
    async def test() -> None:
        async def broken(items: Sequence[Item[int, int]]) -> Sequence[int | Exception]:
            await asyncio.sleep(0)
            raise KeyError("the secret")

        queue: GroupCommit[int, int] = GroupCommit(broken)
        for each in await asyncio.gather(*(ask(queue, value) for value in range(number)), return_exceptions=True):
            assert isinstance(each, PredictionFailed)
            assert "secret" not in str(each)

    test()


@in_loop
async def test_another_number_of_answers_is_a_failure_and_never_somebody_elses_answer() -> None:
    async def short(items: Sequence[Item[int, int]]) -> Sequence[int | Exception]:
        await asyncio.sleep(0)
        return [item.payload for item in items][:-1]

    queue: GroupCommit[int, int] = GroupCommit(short)
    said = await asyncio.gather(*(ask(queue, value) for value in range(3)), return_exceptions=True)
    assert all(isinstance(each, PredictionFailed) for each in said)


@in_loop
async def test_a_deadline_passes_even_when_the_runner_hangs() -> None:
    gate = Gate()
    queue = queue_of(gate)
    started = time.monotonic()
    asked = [ask(queue, value, in_s=0.05) for value in range(3)]
    said = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(each, DeadlineExceeded) for each in said)
    assert time.monotonic() - started < 5
    # Nobody waits for the hung call any more: it was cancelled, and what had not begun never does.
    await settle()
    assert gate.asked == [[0]]
    assert gate.cancelled == 1
    assert queue.in_flight == queue.queued_rows == 0


@in_loop
async def test_a_deadline_that_has_passed_already_starts_nothing() -> None:
    gate = Gate()
    with pytest.raises(DeadlineExceeded):
        await ask(queue_of(gate), 1, in_s=0)
    assert gate.asked == []


@in_loop
async def test_an_item_whose_deadline_passed_in_the_queue_is_not_started() -> None:
    now = 100.0
    gate = Gate()
    queue = GroupCommit(gate, clock=lambda: now)
    asked = [ask(queue, 0), ask(queue, 1, in_s=50), ask(queue, 2, in_s=500)]
    await settle()
    now = 200.0
    gate.let(2)
    said = await asyncio.gather(*asked, return_exceptions=True)
    assert (said[0], said[2]) == (0, 20)
    assert isinstance(said[1], DeadlineExceeded)
    assert gate.asked == [[0], [2]]


@in_loop
async def test_a_cancelled_item_is_not_started() -> None:
    gate = Gate()
    queue = queue_of(gate)
    asked = [ask(queue, value) for value in range(4)]
    await settle()
    asked[2].cancel()
    await settle()
    gate.let(2)
    assert [await asked[index] for index in (0, 1, 3)] == [0, 10, 30]
    assert gate.asked == [[0], [1, 3]]


@in_loop
async def test_an_item_whose_client_has_gone_is_not_started() -> None:
    gate = Gate()
    queue = queue_of(gate)
    first = ask(queue, 0)
    await settle()
    is_gone = False

    async def leaves() -> int:
        set_caller(Caller(deadline=float("inf"), is_gone=lambda: is_gone))
        return await queue.submit(1, rows=1, size_bytes=1, deadline=float("inf"))

    second, third = asyncio.create_task(leaves()), ask(queue, 2)
    await settle()
    is_gone = True
    gate.let(2)
    assert (await first, await third) == (0, 20)
    with pytest.raises(DeadlineExceeded):
        await second
    assert gate.asked == [[0], [2]]


@in_loop
async def test_a_call_is_cancelled_only_when_all_its_callers_have_left() -> None:
    gate = Gate()
    queue = queue_of(gate)
    first = ask(queue, 0)
    await settle()
    together = [ask(queue, 1), ask(queue, 2)]
    await settle()
    gate.let()
    assert await first == 0
    await settle()
    together[0].cancel()
    await settle()
    assert gate.cancelled == 0
    together[1].cancel()
    await settle()
    assert gate.cancelled == 1
    gate.let()
    assert await ask(queue, 3) == 30


@in_loop
async def test_a_lone_call_is_cancelled_with_its_caller() -> None:
    gate = Gate()
    queue = queue_of(gate)
    alone = ask(queue, 0)
    await settle()
    alone.cancel()
    await settle()
    assert gate.cancelled == 1
    assert queue.in_flight == 0


@in_loop
async def test_what_waits_can_be_refused() -> None:
    gate = Gate()
    queue = queue_of(gate)
    asked = [ask(queue, value) for value in range(3)]
    await settle()
    queue.refuse_waiting(RunnerUnavailable("gone"))
    gate.let()
    said = await asyncio.gather(*asked, return_exceptions=True)
    assert said[0] == 0
    assert all(isinstance(each, RunnerUnavailable) for each in said[1:])
    assert queue.queued_rows == 0


@in_loop
async def test_request_ids_go_with_the_items() -> None:
    gate = Gate()
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
    hung, free = Gate(), Gate()
    busy, other = queue_of(hung), queue_of(free)
    waiting = [ask(busy, value) for value in range(50)]
    await settle()
    free.let()
    assert await ask(other, 1) == 10
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


class Payload:
    """Something that a weak reference can see go."""


@in_loop
async def test_a_hung_runners_queue_does_not_fill_with_the_dead() -> None:
    async def hang(items: Sequence[Item[Payload, int]]) -> Sequence[int | Exception]:
        await asyncio.Event().wait()
        return []

    queue: GroupCommit[Payload, int] = GroupCommit(hang, BatchLimits(max_queue_rows=10))
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
    async def answer(items: Sequence[Item[Payload, int]]) -> Sequence[int | Exception]:
        await asyncio.sleep(0)
        return [1] * len(items)

    queue: GroupCommit[Payload, int] = GroupCommit(answer)
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

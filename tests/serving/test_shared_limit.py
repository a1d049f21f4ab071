"""A caller uses at most half of what the other callers leave of a limit."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors.exceptions import CallerLimitReached, LimitReached
from serving.shared_limit import SharedLimit, share_of
from tests.serving.event_loop import in_loop


def fill(limit: SharedLimit, caller: str) -> int:
    """Take places until the caller is refused, and return their number."""
    number = 0
    while True:
        try:
            limit.acquire(caller)
        except (CallerLimitReached, LimitReached):
            return number
        number += 1


def test_each_further_caller_gets_half_of_the_rest_and_at_least_one_place() -> None:
    limit = SharedLimit(8, name="places")

    assert [fill(limit, caller) for caller in "abcde"] == [4, 2, 1, 1, 0]


def test_a_refusal_names_the_limit() -> None:
    limit = SharedLimit(2, name="uploads of jobs")
    limit.acquire("a")
    with pytest.raises(CallerLimitReached, match="you use 1 of the 2 uploads of jobs"):
        limit.acquire("a")
    limit.acquire("b")
    with pytest.raises(LimitReached, match="all 2 uploads of jobs are in use"):
        limit.acquire("c")


def test_what_is_released_can_be_taken_again() -> None:
    limit = SharedLimit(4, name="places")
    fill(limit, "a")
    limit.release("a", 2)

    assert limit.used == 0
    assert fill(limit, "b") == 2


def test_work_of_the_service_has_no_share() -> None:
    assert fill(SharedLimit(8, name="places"), "") == 8


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 5), st.booleans()), max_size=60))
def test_no_caller_uses_more_than_half_of_what_the_others_left(
    steps: list[tuple[str, int, bool]],
) -> None:
    limit, held = SharedLimit(20, name="places"), dict.fromkeys("abcd", 0)
    for caller, amount, takes in steps:
        if not takes:
            if held[caller] >= amount:
                limit.release(caller, amount)
                held[caller] -= amount
            continue
        others = sum(held.values()) - held[caller]
        try:
            limit.acquire(caller, amount)
        except (CallerLimitReached, LimitReached):
            continue
        held[caller] += amount
        assert held[caller] == amount or held[caller] <= share_of(20, others)
        assert sum(held.values()) == limit.used <= 20


@in_loop
async def test_a_caller_waits_for_its_share_and_others_pass() -> None:
    limit, order = SharedLimit(2, name="threads"), []
    ends = {name: asyncio.Event() for name in ("a1", "a2", "b1")}

    async def work(name: str) -> None:
        await limit.wait(name[0])
        order.append(name)
        await ends[name].wait()
        limit.release(name[0])

    async with asyncio.TaskGroup() as group:
        for name in ends:
            group.create_task(work(name))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert order == ["a1", "b1"]
        ends["a1"].set()
        await asyncio.sleep(0.01)
        assert order == ["a1", "b1", "a2"]
        for end in ends.values():
            end.set()
    assert limit.used == 0


@in_loop
async def test_a_cancelled_wait_holds_nothing() -> None:
    limit = SharedLimit(1, name="threads")
    limit.acquire("b")
    task = asyncio.create_task(limit.wait("a"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    limit.release("b")

    assert limit.used == 0

"""The share of the event loop's time: its size, and the turns of callers."""

from __future__ import annotations

import asyncio

import pytest

from serving.http.loop_share import BURST_S, LoopShare
from tests.serving.event_loop import in_simulated_time


async def use_up(share: LoopShare, fraction: float) -> None:
    await share.take("first", (BURST_S + 0.05) * fraction, max_wait_s=0)


@in_simulated_time
async def test_unused_time_is_kept_for_a_burst() -> None:
    share = LoopShare(0.1)
    async with asyncio.timeout(0.5 * BURST_S):
        for _ in range(9):
            await share.take("page", 0.1 * BURST_S / 10, max_wait_s=60)


@in_simulated_time
async def test_the_share_bounds_the_time_that_is_used() -> None:
    share, loop, used_s = LoopShare(0.1), asyncio.get_running_loop(), 0.0
    await use_up(share, 0.1)
    started = loop.time()

    async def request(caller: str) -> None:
        nonlocal used_s
        while loop.time() < started + 0.5:
            await share.take(caller, 0.001, max_wait_s=60)
            used_s += 0.001

    await asyncio.gather(*(request(f"caller {number % 5}") for number in range(64)))
    # Each request may use its cost after the end.
    assert used_s <= 0.1 * (loop.time() - started) + 0.001
    assert used_s > 0.02


@in_simulated_time
async def test_callers_take_turns() -> None:
    share, order = LoopShare(0.5), list[str]()
    await use_up(share, 0.5)

    async def request(caller: str) -> None:
        await share.take(caller, 0.001, max_wait_s=60)
        order.append(caller)

    flood = [asyncio.create_task(request("flood")) for _ in range(200)]
    await asyncio.sleep(0.01)
    before = len(order)
    await asyncio.gather(request("other"), request("third"))
    assert len(order) - before <= 5
    assert order.count("flood") < 50
    for task in flood:
        task.cancel()
    await asyncio.gather(*flood, return_exceptions=True)


@in_simulated_time
async def test_the_wait_is_bounded() -> None:
    share, loop = LoopShare(0.1), asyncio.get_running_loop()
    await share.take("first", 100.0, max_wait_s=0)
    started = loop.time()
    await share.take("second", 0.001, max_wait_s=0.05)
    assert 0.04 < loop.time() - started < 1


@in_simulated_time
async def test_requests_that_waited_long_enough_do_not_delay_others() -> None:
    share = LoopShare(0.1)
    await use_up(share, 0.1)
    await asyncio.gather(*(share.take("probes", 1.0, max_wait_s=0.01) for _ in range(100)))
    async with asyncio.timeout(5):
        await share.take("other", 0.001, max_wait_s=60)


@in_simulated_time
async def test_a_cancelled_request_uses_no_turn() -> None:
    share = LoopShare(0.1)
    await use_up(share, 0.1)
    tasks = [asyncio.create_task(share.take("left", 10.0, max_wait_s=60)) for _ in range(3)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(2):
        await share.take("stays", 0.001, max_wait_s=60)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await asyncio.gather(*(share.take("stays", 0.001, max_wait_s=60) for _ in range(2)))

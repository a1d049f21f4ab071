"""The thread pool and task_timeout."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from serving.concurrency import ThreadPool, task_timeout
from tests.serving.event_loop import in_loop


@in_loop
async def test_jobs_run_in_threads_and_return_results() -> None:
    threads = ThreadPool(2, name="test")
    assert await threads.run(lambda number: 10 * number, 4) == 40
    assert await threads.run(lambda _: threading.current_thread().name, 0) in ("test-0", "test-1")
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda number: 1 / number, 0)
    threads.close()
    with pytest.raises(RuntimeError, match="closed"):
        threads.run(str, 1)


@in_loop
async def test_jobs_start_in_order_on_all_threads() -> None:
    threads, started, go = ThreadPool(2, name="test"), [], threading.Event()

    def job(number: int) -> int:
        started.append(number)
        go.wait(120)
        return number

    jobs = [threads.run(job, number) for number in range(5)]
    while len(started) < 2:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.02)
    assert sorted(started) == [0, 1]
    jobs[3].cancel()
    go.set()
    assert await asyncio.gather(*(jobs[index] for index in (0, 1, 2, 4))) == [0, 1, 2, 4]
    assert 3 not in started
    threads.close()


def test_a_hanging_job_does_not_block_the_exit() -> None:
    threads, never = ThreadPool(1, name="test"), threading.Event()

    async def main() -> None:
        future = threads.run(lambda _: never.wait(300), 0)
        await asyncio.sleep(0.01)
        future.cancel()
        threads.close()

    started = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - started < 50
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "test-0")
    never.set()


@in_loop
async def test_a_timeout_cancels_the_block() -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError), task_timeout(0.02) as limit:
        await asyncio.sleep(60)
    assert limit.is_over
    assert time.monotonic() - started < 50
    # The task is not cancelled after the block.
    await asyncio.sleep(0)


@in_loop
async def test_a_timeout_that_is_not_reached_has_no_effect() -> None:
    for seconds in (60, float("inf")):
        with task_timeout(seconds) as limit:
            await asyncio.sleep(0)
        assert not limit.is_over


@in_loop
async def test_a_cancellation_from_elsewhere_is_not_a_timeout() -> None:
    async def waits() -> None:
        with task_timeout(60):
            await asyncio.sleep(60)

    task = asyncio.create_task(waits())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@in_loop
async def test_nested_timeouts_end_the_right_block() -> None:
    with task_timeout(60) as outer:
        with pytest.raises(TimeoutError), task_timeout(0.01):
            await asyncio.sleep(60)
        await asyncio.sleep(0)
    assert not outer.is_over

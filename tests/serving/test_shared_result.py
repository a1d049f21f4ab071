"""Results that callers share: one run at a time, in a thread, and kept for a time."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from serving.concurrency import SharedResult
from tests.serving.event_loop import in_loop


class Function:
    """A function that counts its runs, takes 50 ms, and fails as long as `error` is set."""

    def __init__(self) -> None:
        self.runs = 0
        self.error: Exception | None = None
        self.threads: set[str] = set()

    def __call__(self) -> int:
        self.runs += 1
        self.threads.add(threading.current_thread().name)
        time.sleep(0.05)
        if self.error:
            raise self.error
        return self.runs


@in_loop
async def test_callers_share_one_run_in_a_thread() -> None:
    function = Function()
    shared = SharedResult(function)
    assert await asyncio.gather(*(shared.get() for _ in range(100))) == [1] * 100
    assert await shared.get() == 1
    assert threading.current_thread().name not in function.threads


@pytest.mark.slow
@in_loop
async def test_a_result_is_renewed_after_its_time_and_ten_times_its_run() -> None:
    function = Function()
    shared = SharedResult(function, keep_s=0.0)
    started = time.monotonic()
    while (runs := await shared.get()) < 3:
        await asyncio.sleep(0.01)
    assert runs == 3
    assert time.monotonic() - started >= 2 * SharedResult.REST * 0.05


@in_loop
async def test_an_error_reaches_all_and_is_not_kept() -> None:
    function = Function()
    function.error = OSError("full")
    shared = SharedResult(function)
    answers = await asyncio.gather(*(shared.get() for _ in range(3)), return_exceptions=True)
    assert answers == [function.error] * 3
    function.error = None
    assert await shared.get() == 2


@in_loop
async def test_a_cancelled_caller_does_not_cancel_the_run() -> None:
    shared = SharedResult(Function())
    first = asyncio.create_task(shared.get())
    second = asyncio.create_task(shared.get())
    await asyncio.sleep(0.01)
    first.cancel()
    assert await second == 1
    with pytest.raises(asyncio.CancelledError):
        await first

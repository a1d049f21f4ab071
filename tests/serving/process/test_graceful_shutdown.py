"""The supervisor ends the grace period of a process in which a model hangs."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from serving.process.graceful_shutdown import END_GRACE_PERIOD, GracefulShutdown
from tests.serving.event_loop import in_loop, until

ROOT = Path(__file__).parents[3]


@in_loop
async def end_the_grace_period() -> None:
    stopped: list[int] = []
    previous: dict[int, Any] = {each: signal.getsignal(each) for each in (signal.SIGTERM, END_GRACE_PERIOD)}
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    shutdown = GracefulShutdown(grace_s=600)
    shutdown.install()

    async def work() -> None:
        shutdown.enter()
        try:
            await asyncio.sleep(600)
        finally:
            shutdown.leave()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    try:
        # Before the shutdown it does nothing.
        os.kill(os.getpid(), END_GRACE_PERIOD)
        await asyncio.sleep(0.05)
        assert not task.done()
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: shutdown.is_begun)
        assert not task.done()
        os.kill(os.getpid(), END_GRACE_PERIOD)
        await until(task.done)
        assert task.cancelled()
        assert set(stopped) == {signal.SIGTERM}
    finally:
        shutdown.uninstall()
        for each, handler in previous.items():
            signal.signal(each, handler)


def test_the_supervisor_ends_the_grace_period() -> None:
    # In a process of its own: a signal that no handler takes would end that of all tests.
    code = "from tests.serving.process.test_graceful_shutdown import end_the_grace_period as run; run()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr

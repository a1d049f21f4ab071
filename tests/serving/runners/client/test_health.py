"""What is known of a runner: callers wait while it is being checked, and are told what was found."""

from __future__ import annotations

import asyncio

import pytest

from serving.runners.client.health import Health, State
from serving.runners.interface import ModelRef, RunnerStatus
from tests.serving.event_loop import in_loop

FIRST = RunnerStatus(ready=True, model=ModelRef("m", "1"))
SECOND = RunnerStatus(ready=True, model=ModelRef("m", "2"))


@in_loop
async def test_what_a_runner_says_counts_once_it_is_up() -> None:
    health = Health("r")
    health.heard(FIRST)
    assert not health.status.ready
    health.up()
    assert health.status == FIRST
    health.heard(SECOND)
    assert health.status == SECOND


@in_loop
async def test_a_suspicion_makes_callers_wait_for_what_is_found() -> None:
    told: list[bool] = []
    health = Health("r", told.append)
    health.up()
    health.suspect()
    assert health.alarm.is_set()
    waiting = asyncio.create_task(health.settled())
    await asyncio.sleep(0)
    assert not waiting.done()
    health.down("does not answer")
    await waiting
    assert (health.state, health.status.detail, told) == (State.DOWN, "does not answer", [True, False])


@in_loop
async def test_a_suspicion_of_a_runner_that_is_known_to_be_down_holds_nobody_up() -> None:
    health = Health("r")
    health.down("does not answer")
    health.suspect()
    async with asyncio.timeout(1):
        await health.settled()
    assert health.state is State.DOWN


@in_loop
async def test_only_changes_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    health = Health("r")
    with caplog.at_level("INFO", "makunouchi.hop"):
        for _ in range(3):
            health.down("does not answer")
        for _ in range(3):
            health.heard(FIRST)
            health.up()
    assert [record.getMessage() for record in caplog.records] == [
        "runner r is not available: does not answer", "runner r is up",
    ]  # fmt: skip

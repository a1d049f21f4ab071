"""Health of a runner: callers wait during a check, and get its result."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from serving.process.replacements import Replacements
from serving.process.startup import STARTED_FOLDER
from serving.runners.client.health import Health, State
from serving.runners.interface import ModelRef, RunnerStatus
from tests.serving.event_loop import in_loop
from tests.serving.process.supervised_services import Clock

FIRST = RunnerStatus(ready=True, model=ModelRef("m", "1"))
SECOND = RunnerStatus(ready=True, model=ModelRef("m", "2"))


@in_loop
async def test_a_status_is_current_once_the_runner_is_up() -> None:
    health = Health("r")
    health.record({"m": FIRST})
    assert not health.status("m").ready
    health.set_up()
    assert health.status("m") == FIRST
    health.record({"m": SECOND})
    assert health.status("m") == SECOND


@in_loop
async def test_callers_wait_for_the_result_of_a_requested_check() -> None:
    states: list[bool] = []
    health = Health("r")
    health.record({"m": FIRST})
    health.watch("m", states.append)
    health.set_up()
    health.request_check()
    assert health.check_requested.is_set()
    waiting = asyncio.create_task(health.wait_until_checked())
    await asyncio.sleep(0)
    assert not waiting.done()
    health.set_down("does not answer")
    await waiting
    assert (health.state, health.status("m").detail, states) == (State.DOWN, "does not answer", [True, False])


@in_loop
async def test_no_caller_waits_for_a_check_of_a_runner_that_is_down() -> None:
    health = Health("r")
    health.set_down("does not answer")
    health.request_check()
    async with asyncio.timeout(60):
        await health.wait_until_checked()
    assert health.state is State.DOWN


@in_loop
async def test_the_reason_of_a_replacement_is_the_detail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STARTED_FOLDER, str(tmp_path))
    clock = Clock()
    replacements = Replacements(tmp_path, clock=clock)
    replacements.add("RRunner", "hung", "an earlier replacement")
    health = Health("RRunner")
    health.record({"": FIRST})
    health.set_up()
    health.set_down("does not answer")
    assert health.status("").detail == "does not answer"
    # The supervisor kills it later than the pings fail.
    clock.now = time.monotonic()
    replacements.add("OtherRunner", "hung", "another process")
    replacements.add("RRunner", "hung", "its event loop has not run for 30 s")
    assert health.status("") == RunnerStatus(ready=False, model=None, detail="its event loop has not run for 30 s")
    health.record({"": SECOND})
    health.set_up()
    assert health.status("") == SECOND


@in_loop
async def test_calls_wait_until_the_runner_is_up() -> None:
    health = Health("r")
    health.set_up()
    async with asyncio.timeout(1):
        await health.wait_until_up()
    health.request_check()
    waiting = asyncio.create_task(health.wait_until_up())
    health.set_down("does not answer")
    await asyncio.sleep(0)
    assert not waiting.done()
    health.set_up()
    await waiting


@in_loop
async def test_only_changes_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    health = Health("r")
    with caplog.at_level("INFO", "makunouchi.runners"):
        for _ in range(3):
            health.set_down("does not answer")
        for _ in range(3):
            health.record({"m": FIRST})
            health.set_up()
    assert [record.getMessage() for record in caplog.records] == [
        "runner r is not available: does not answer", "runner r is up",
    ]  # fmt: skip


@in_loop
async def test_each_model_is_ready_on_its_own() -> None:
    health = Health("r")
    states: dict[str, list[bool]] = {"m": [], "n": []}
    for name, changes in states.items():
        health.watch(name, changes.append)
    failed = RunnerStatus(ready=False, model=None, detail="the file was altered")
    health.record({"m": FIRST, "n": failed})
    health.set_up()
    assert (health.status("m"), health.status("n")) == (FIRST, failed)
    assert not health.status("other").ready
    health.record_example("m", "did not answer its own example")
    assert health.status("m").detail == "did not answer its own example"
    health.record_example("m", "")
    health.record({"m": FIRST, "n": SECOND})
    assert states == {"m": [True, False, True], "n": [False, True]}
    assert health.loaded_models() == {"m", "n"}

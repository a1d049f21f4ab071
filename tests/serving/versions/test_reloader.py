"""Gateways follow what others are asked, and the store where that is wanted; a bad version is tried once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from models.errors import ArtifactInvalid
from serving.runners.interface import ModelRef, RunnerStatus
from serving.versions import reloader as module
from serving.versions.reloader import Reloader, Serves
from serving.versions.state import Pins
from tests.serving.event_loop import in_loop, until


@dataclass
class Runner:
    """Serves any version but "bad"."""

    version: str = "v1"
    newest: str = "v1"
    asked: list[str | None] = field(default_factory=list)

    @property
    def last_status(self) -> RunnerStatus:
        return RunnerStatus(ready=True, model=ModelRef("m", self.version))

    async def reload(self, version: str | None, *, timeout_s: float = 1.0) -> ModelRef:
        self.asked.append(version)
        if (version or self.newest) == "bad":
            raise ArtifactInvalid("it is cut")
        self.version = version or self.newest
        return ModelRef("m", self.version)


@contextlib.asynccontextmanager
async def gateway(folder: Path, runner: Runner, **options: Any) -> AsyncIterator[Reloader]:
    reloads = Reloader({"m": Serves(runner, "m:latest", lambda v: v or runner.newest)}, Pins(folder), **options)
    reloads.start()
    try:
        yield reloads
    finally:
        await reloads.stop()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FOLLOW_EVERY_S", 0.02)


def test_a_gateway_with_a_runner_of_its_own_follows_the_one_that_was_asked(tmp_path: Path) -> None:
    @in_loop
    async def run() -> None:
        mine, other = Runner(), Runner()
        async with gateway(tmp_path, mine) as asked, gateway(tmp_path, other):
            told: list[int] = []
            asked.on_reload(lambda: told.append(1))
            await asked.reload("m", "v0")
            await until(lambda: other.version == "v0")
            await asked.reload("m", None)
            await until(lambda: other.version == "v1")
            assert other.asked == ["v0", None]
            assert mine.asked == ["v0", None]
            assert len(told) == 2

    run()


def test_a_newer_version_in_the_store_is_taken_and_a_bad_one_is_tried_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @in_loop
    async def run() -> None:
        runner = Runner()
        async with gateway(tmp_path, runner, watch_s=0.02):
            runner.newest = "v2"
            await until(lambda: runner.version == "v2")
            runner.newest = "bad"
            await until(lambda: "was not taken" in caplog.text)
            tried = len(runner.asked)
            await asyncio.sleep(0.2)
            assert len(runner.asked) == tried
            assert runner.version == "v2"
            runner.newest = "v3"
            await until(lambda: runner.version == "v3")

    run()


def test_a_pinned_version_is_kept_when_the_store_has_a_newer_one(tmp_path: Path) -> None:
    @in_loop
    async def run() -> None:
        runner = Runner()
        async with gateway(tmp_path, runner, watch_s=0.02) as reloads:
            await reloads.reload("m", "v0")
            runner.newest = "v2"
            await asyncio.sleep(0.2)
            assert runner.version == "v0"
            await reloads.reload("m", None)
            assert runner.version == "v2"

    run()


def test_the_store_is_left_alone_unless_a_setting_says_so(tmp_path: Path) -> None:
    @in_loop
    async def run() -> None:
        runner = Runner()
        async with gateway(tmp_path, runner):
            runner.newest = "v2"
            await asyncio.sleep(0.2)
            assert runner.asked == []

    run()

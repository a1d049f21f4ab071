"""Gateways follow what others were asked, and a runner that starts anew is told again what to hold."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from models.errors import ArtifactInvalid, NotKnown
from serving.context import VersionRequest, set_version_request
from serving.errors.exceptions import ReloadRefused
from serving.runners.interface import ModelRef, RunnerStatus
from serving.versions import controller as module
from serving.versions.controller import Shared, TrafficController
from serving.versions.router import VersionRouter
from serving.versions.state import Plans
from serving.versions.traffic_split import NO_SPLIT, TrafficSplit
from tests.serving.event_loop import in_loop, until
from tests.serving.in_process_service import TABLE_CARD


@dataclass
class Runner:
    """Holds any version but "bad"."""

    last_status: RunnerStatus = field(default_factory=lambda: RunnerStatus(ready=True, model=ModelRef("m", "v1")))
    asked: list[tuple[str, ...]] = field(default_factory=list)

    async def hold(self, versions: Sequence[str], *, timeout_s: float = 1.0) -> tuple[str, ...]:
        self.asked.append(tuple(versions))
        if "bad" in versions:
            raise ArtifactInvalid("it is cut")
        self.last_status = replace(self.last_status, versions=tuple(versions))
        return tuple(versions)

    def restart(self) -> None:
        self.last_status = replace(self.last_status, versions=())


@contextlib.asynccontextmanager
async def gateway(folder: Path, runner: Runner) -> AsyncIterator[tuple[TrafficController, VersionRouter]]:
    plans = Plans(folder)
    traffic = VersionRouter("m", runner=runner, plans=plans)
    control = TrafficController({"m": Shared(traffic, runner, lambda version: TABLE_CARD)}, plans, max_versions=3)
    control.start()
    try:
        yield control, traffic
    finally:
        await control.stop()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FOLLOW_EVERY_S", 0.02)


PLAN = TrafficSplit({"v1": 0.9, "v2": 0.1}, shadow="v3")


def test_every_gateway_and_its_runner_follow_and_go_back(tmp_path: Path) -> None:
    @in_loop
    async def run() -> None:
        mine, other = Runner(), Runner()
        async with gateway(tmp_path, mine) as (control, _), gateway(tmp_path, other) as (_, followed):
            await control.set("m", PLAN)
            await until(lambda: followed.plan == PLAN and other.last_status.versions == PLAN.versions)
            await control.clear("m")
            await until(lambda: followed.plan == NO_SPLIT and other.last_status.versions == ())
            assert mine.asked == other.asked == [("v1", "v2", "v3"), ()]

    run()


def test_a_runner_that_started_anew_is_told_again_and_so_is_everything_after_a_restart(tmp_path: Path) -> None:
    @in_loop
    async def run() -> None:
        runner = Runner()
        async with gateway(tmp_path, runner) as (control, _):
            await control.set("m", PLAN)
            runner.restart()
            await until(lambda: runner.last_status.versions == PLAN.versions)
        fresh = Runner()
        async with gateway(tmp_path, fresh) as (_, traffic):
            assert traffic.plan == PLAN
            await until(lambda: fresh.last_status.versions == PLAN.versions)

    run()


def test_a_version_that_cannot_be_held_is_refused_and_not_tried_for_ever(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @in_loop
    async def run() -> None:
        runner = Runner()
        async with gateway(tmp_path, runner) as (control, traffic):
            await control.set("m", PLAN)
            with pytest.raises(ReloadRefused, match="it is cut; the traffic is as it was"):
                await control.set("m", TrafficSplit({"bad": 1.0}))
            assert traffic.plan == PLAN
            # Another host's gateway may have written it all the same.
            Plans(tmp_path).write("m", TrafficSplit({"bad": 1.0}))
            await until(lambda: "does not hold versions bad" in caplog.text)
            tried = len(runner.asked)
            await asyncio.sleep(0.2)
            assert len(runner.asked) == tried

    run()


def test_a_version_that_another_gateway_was_told_of_is_known_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FOLLOW_EVERY_S", 3600.0)

    @in_loop
    async def run() -> None:
        async with gateway(tmp_path, Runner()) as (_, traffic):
            set_version_request(VersionRequest("v2"))
            with pytest.raises(NotKnown, match="answering: v1"):
                traffic.choose()
            Plans(tmp_path).write("m", PLAN)
            assert traffic.choose().version == "v2"

    run()


def test_where_nothing_can_be_written_the_traffic_lasts_as_long_as_the_gateway(tmp_path: Path) -> None:
    @in_loop
    async def run() -> None:
        (tmp_path / "file").write_text("")
        async with gateway(tmp_path / "file" / "traffic", Runner()) as (control, traffic):
            await control.set("m", PLAN)
            await asyncio.sleep(0.1)
            assert traffic.plan == PLAN

    run()

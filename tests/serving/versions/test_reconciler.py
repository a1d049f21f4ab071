"""Gateways follow the desired state, runners are brought back to it, and a version that cannot be loaded is paused."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from models.card import Card
from models.errors import ArtifactInvalid, ArtifactMissing, NotKnown
from models.store.aliases import Aliases
from models.watch import failing
from serving.context import VersionRequest, set_version_request
from serving.errors.exceptions import ReloadRefused
from serving.runners.interface import ModelRef, RunnerStatus
from serving.versions import reconciler as module
from serving.versions.deployed_model import DeployedModel, deployed_model
from serving.versions.reconciler import Reconciler
from serving.versions.report import ModelReport
from serving.versions.state import DeploymentState
from serving.versions.traffic_split import NO_SPLIT, TrafficSplit
from tests.serving.event_loop import in_loop, until
from tests.serving.in_process_service import TABLE_CARD

SPLIT = TrafficSplit({"v1": 0.9, "v2": 0.1}, shadow="v3")


@dataclass(frozen=True)
class Stored:
    version: str
    card: Card = TABLE_CARD


@dataclass
class Artifacts:
    """A store whose newest version a test sets."""

    name: str = "m"
    newest: str = "v1"

    error: Exception | None = None

    @property
    def aliases(self) -> Aliases:
        return Aliases(self.name)

    def find(self, version: str | None = None) -> Stored:
        if self.error is not None:
            raise self.error
        return Stored(version or self.newest)

    def read(self, version: str | None = None) -> Stored:
        return self.find(version)

    def versions(self) -> list[Stored]:
        return [self.find()]


@dataclass
class Runner:
    """Loads any version but "bad"."""

    artifacts: Artifacts = field(default_factory=Artifacts)
    last_status: RunnerStatus = field(default_factory=lambda: RunnerStatus(ready=True, model=ModelRef("m", "v1")))
    reloads: list[str | None] = field(default_factory=list)
    holds: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def version(self) -> str:
        assert self.last_status.model is not None
        return self.last_status.model.version

    async def reload(self, version: str | None, *, timeout_s: float = 1.0) -> ModelRef:
        self.reloads.append(version)
        loaded = version or self.artifacts.newest
        if loaded == "bad":
            raise ArtifactInvalid("it is cut")
        self.last_status = replace(self.last_status, model=ModelRef("m", loaded))
        return ModelRef("m", loaded)

    async def hold(self, versions: Sequence[str], *, timeout_s: float = 1.0) -> tuple[str, ...]:
        self.holds.append(tuple(versions))
        if "bad" in versions:
            raise ArtifactInvalid("it is cut")
        self.last_status = replace(self.last_status, versions=tuple(versions))
        return tuple(versions)

    def restart(self, version: str = "v1") -> None:
        self.last_status = RunnerStatus(ready=True, model=ModelRef("m", version))


@contextlib.asynccontextmanager
async def gateway(
    folder: Path, *runners: Runner, **options: Any
) -> AsyncIterator[tuple[Reconciler, DeployedModel[Stored]]]:
    """One gateway with a model per runner; the first is yielded."""
    state = DeploymentState(folder)
    models = [
        deployed_model(runner.artifacts, runner, configured=f"{runner.artifacts.name}:latest", state=state)
        for runner in runners
    ]
    reconciler = Reconciler(models, state, **options)
    reconciler.start()
    try:
        yield reconciler, models[0]
    finally:
        await reconciler.stop()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PASS_EVERY_S", 0.02)


async def passes() -> None:
    """Wait for several passes of the loop."""
    await asyncio.sleep(0.2)


def test_a_gateway_with_its_own_runner_follows_a_reload(tmp_path: Path) -> None:
    @in_loop
    async def run() -> None:
        mine, other = Runner(), Runner()
        async with gateway(tmp_path, mine) as (reconciler, _), gateway(tmp_path, other):
            changes: list[int] = []
            reconciler.on_change(lambda: changes.append(1))
            await reconciler.reload("m", "v0")
            await until(lambda: other.version == "v0")
            await reconciler.reload("m", None)
            await until(lambda: other.version == "v1")
            await passes()
            assert mine.reloads == other.reloads == ["v0", None]
            assert len(changes) == 2

    run()


def test_every_gateway_and_its_runner_follow_a_split_and_its_reset(tmp_path: Path) -> None:
    @in_loop
    async def run() -> None:
        mine, other = Runner(), Runner()
        async with gateway(tmp_path, mine) as (reconciler, _), gateway(tmp_path, other) as (_, followed):
            await reconciler.set_split("m", SPLIT)
            await until(lambda: followed.router.split == SPLIT and other.last_status.versions == SPLIT.versions)
            await reconciler.clear_split("m")
            await until(lambda: followed.router.split == NO_SPLIT and other.last_status.versions == ())
            assert mine.holds == other.holds == [("v1", "v2", "v3"), ()]

    run()


def is_converged(report: ModelReport) -> bool:
    """Return whether the actual state of a model is the desired one."""
    return (
        report.active is not None
        and report.pinned in (None, report.active.version)
        and report.split == report.desired.split
        and all(version.is_loaded for version in report.versions)
    )


def test_a_restarted_runner_gets_its_versions_and_its_pin_again(tmp_path: Path) -> None:
    @in_loop
    async def run() -> None:
        runner = Runner()
        async with gateway(tmp_path, runner) as (reconciler, _):
            await reconciler.set_split("m", SPLIT)
            await reconciler.reload("m", "v0")
            assert is_converged(reconciler.report("m"))
            # On another host it does not see the state file, and starts with the configured version.
            runner.restart()
            assert not is_converged(reconciler.report("m"))
            await until(lambda: is_converged(reconciler.report("m")))
            assert runner.last_status == RunnerStatus(True, ModelRef("m", "v0"), versions=SPLIT.versions)
        fresh = Runner()
        async with gateway(tmp_path, fresh) as (_, model):
            assert model.router.split == SPLIT
            await until(lambda: fresh.last_status.versions == SPLIT.versions and fresh.version == "v0")

    run()


def test_a_reload_whose_caller_times_out_completes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @in_loop
    async def run() -> None:
        runner = Runner()
        has_begun, loading = asyncio.Event(), asyncio.Event()
        reload = runner.reload

        async def slow(version: str | None, *, timeout_s: float = 1.0) -> ModelRef:
            has_begun.set()
            await loading.wait()
            return await reload(version)

        monkeypatch.setattr(runner, "reload", slow)
        async with gateway(tmp_path, runner) as (reconciler, _):
            call = asyncio.create_task(reconciler.reload("m", "v0"))
            await has_begun.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            loading.set()
            await until(lambda: reconciler.report("m").pinned == "v0")
            assert runner.version == "v0"

    run()


def test_a_reload_that_fails_changes_nothing_and_says_why(tmp_path: Path) -> None:
    @in_loop
    async def run() -> None:
        runner = Runner()
        async with gateway(tmp_path, runner) as (reconciler, _):
            with pytest.raises(ReloadRefused, match="it is cut; version 'v1' remains the default"):
                await reconciler.reload("m", "bad")
            await passes()
            assert (runner.version, runner.reloads) == ("v1", ["bad"])
            assert DeploymentState(tmp_path).models() == {}

    run()


def test_a_split_that_cannot_be_loaded_is_refused_and_retried_after_a_pause(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @in_loop
    async def run() -> None:
        runner = Runner()
        async with gateway(tmp_path, runner) as (reconciler, model):
            await reconciler.set_split("m", SPLIT)
            with pytest.raises(ReloadRefused, match="it is cut; the traffic split is unchanged"):
                await reconciler.set_split("m", TrafficSplit({"bad": 1.0}))
            assert model.router.split == SPLIT
            # An operator can still write it into the state.
            DeploymentState(tmp_path).set_split("m", TrafficSplit({"bad": 1.0}))
            await until(lambda: "cannot load versions bad" in caplog.text)
            attempts = len(runner.holds)
            await passes()
            assert len(runner.holds) == attempts
            assert reconciler.report("m").error == "it is cut"

    run()


def test_a_newer_version_in_the_store_is_loaded_and_a_bad_one_is_tried_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @in_loop
    async def run() -> None:
        runner = Runner()
        async with gateway(tmp_path, runner, watch_s=0.02):
            runner.artifacts.newest = "v2"
            await until(lambda: runner.version == "v2")
            runner.artifacts.newest = "bad"
            await until(lambda: "cannot change to version bad" in caplog.text)
            attempts = len(runner.reloads)
            await passes()
            assert len(runner.reloads) == attempts
            assert runner.version == "v2"
            runner.artifacts.newest = "v3"
            await until(lambda: runner.version == "v3")

    run()


def test_each_model_has_its_own_interval_of_the_watch(tmp_path: Path) -> None:
    @in_loop
    async def run() -> None:
        state = DeploymentState(tmp_path)
        watched, unwatched, other = (Runner(Artifacts(name)) for name in ("watched", "unwatched", "other"))
        models = [
            deployed_model(runner.artifacts, runner, configured="m:champion", state=state, watch_s=watch_s)
            for runner, watch_s in ((watched, 0.02), (unwatched, 0.0), (other, None))
        ]
        for watch_s, followed in ((0.0, False), (0.02, True)):
            reconciler = Reconciler(models, state, watch_s=watch_s)
            reconciler.start()
            for runner in (watched, unwatched, other):
                runner.artifacts.newest = f"v{watch_s}"
            await until(lambda watch_s=watch_s: watched.version == f"v{watch_s}")  # type: ignore[misc]
            await passes()
            assert (other.version == f"v{watch_s}") is followed
            await reconciler.stop()
        assert unwatched.reloads == []

    run()


def test_a_reload_of_an_alias_pins_the_version_that_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @in_loop
    async def run() -> None:
        runner = Runner()

        async def resolve(version: str | None, *, timeout_s: float = 1.0) -> ModelRef:
            runner.reloads.append(version)
            runner.restart("v2" if version == "champion" else version or "v1")
            return ModelRef("m", runner.version)

        monkeypatch.setattr(runner, "reload", resolve)
        async with gateway(tmp_path, runner) as (reconciler, _):
            result = await reconciler.reload("m", "champion")
            assert result.model.version == "v2"
            await passes()
            assert runner.reloads == ["champion"]
            assert DeploymentState(tmp_path).model("m").version == "v2"
            assert is_converged(reconciler.report("m"))

    run()


def test_an_alias_of_a_deleted_version_leaves_the_loaded_one_and_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @in_loop
    async def run() -> None:
        runner = Runner()
        async with gateway(tmp_path, runner, watch_s=0.02) as (reconciler, _):
            text = "alias 'champion' of artifact 'm' names version 'v9', which is not in the model store; known: v1"
            runner.artifacts.error = ArtifactMissing(text)
            await until(lambda: "model_store" in failing())
            await passes()
            assert caplog.text.count(f"cannot look up m in the model store, its versions remain: {text}") == 1
            assert reconciler.report("m").error == f"the model store: {text}"
            assert (runner.version, runner.reloads) == ("v1", [])

    run()


def test_a_pinned_version_stays_when_the_store_has_a_newer_one(tmp_path: Path) -> None:
    @in_loop
    async def run() -> None:
        runner = Runner()
        async with gateway(tmp_path, runner, watch_s=0.02) as (reconciler, _):
            await reconciler.reload("m", "v0")
            runner.artifacts.newest = "v2"
            await passes()
            assert runner.version == "v0"
            await reconciler.reload("m", None)
            assert runner.version == "v2"

    run()


def test_the_store_is_not_watched_unless_a_setting_says_so(tmp_path: Path) -> None:
    @in_loop
    async def run() -> None:
        runner = Runner()
        async with gateway(tmp_path, runner):
            runner.artifacts.newest = "v2"
            await passes()
            assert runner.reloads == []

    run()


def test_a_model_that_loads_for_long_delays_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @in_loop
    async def run() -> None:
        slow, quick = Runner(Artifacts("slow")), Runner(Artifacts("quick"))

        async def never(versions: Sequence[str], *, timeout_s: float = 1.0) -> tuple[str, ...]:
            await asyncio.sleep(3600)
            return ()

        monkeypatch.setattr(slow, "hold", never)
        for name in ("slow", "quick"):
            DeploymentState(tmp_path).set_split(name, SPLIT)
        async with gateway(tmp_path, slow, quick):
            await until(lambda: quick.last_status.versions == SPLIT.versions)

    run()


def test_a_split_that_another_gateway_has_set_is_known_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PASS_EVERY_S", 3600.0)

    @in_loop
    async def run() -> None:
        async with gateway(tmp_path, Runner()) as (_, model):
            set_version_request(VersionRequest("v2"))
            with pytest.raises(NotKnown, match="served: v1"):
                model.router.choose()
            DeploymentState(tmp_path).set_split("m", SPLIT)
            assert model.router.choose().version == "v2"

    run()


def test_where_the_state_cannot_be_written_a_split_lasts_as_long_as_the_gateway(tmp_path: Path) -> None:
    @in_loop
    async def run() -> None:
        (tmp_path / "file").write_text("")
        async with gateway(tmp_path / "file" / "state", Runner()) as (reconciler, model):
            await reconciler.set_split("m", SPLIT)
            await passes()
            assert model.router.split == SPLIT

    run()


@pytest.mark.parametrize("error", [PermissionError(13, "No", "/srv/store"), ArtifactInvalid("cut"), KeyError("x")])
def test_a_store_that_cannot_be_read_is_reported_once_and_the_loaded_version_remains(
    error: Exception, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @in_loop
    async def run() -> None:
        runner = Runner()
        async with gateway(tmp_path, runner, watch_s=0.02) as (reconciler, _):
            runner.artifacts.error = error
            await until(lambda: "model_store" in failing())
            await passes()
            assert caplog.text.count("cannot look up m in the model store, its versions remain: ") == 1
            assert "/srv/store" not in failing()["model_store"]
            assert reconciler.report("m").error
            runner.artifacts.error, runner.artifacts.newest = None, "v2"
            await until(lambda: runner.version == "v2")
            assert failing() == {}

    run()


def test_the_fault_of_a_model_ends_when_the_model_is_removed_or_changed(tmp_path: Path) -> None:
    @in_loop
    async def run() -> None:
        runner = Runner()
        async with gateway(tmp_path, runner, watch_s=0.02) as (reconciler, model):
            for models in ([], [replace(model)]):
                runner.artifacts.error = ArtifactMissing("gone")
                await until(lambda: "model_store" in failing())
                runner.artifacts.error = None
                reconciler.replace(models)
                assert "model_store" not in failing()
                reconciler.replace([model])

    run()

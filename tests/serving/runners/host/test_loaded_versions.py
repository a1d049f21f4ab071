"""Another version takes over without a dropped call, or does not take over and says why."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from models.errors import ArtifactInvalid, ArtifactMissing, VersionNotLoaded
from serving.runners.host.loaded_versions import LoadedVersions, StartVersions, wanted_version
from serving.runners.interface import ModelRef
from tests.serving.runners.sum_predictors import Sums, SumsRunner

ROW = np.ones((1, 3), np.float32)


def test_a_slot_serves_the_configured_version_first() -> None:
    runner = SumsRunner()
    assert runner.model.model == ModelRef("sums", "v1")
    # It was warmed up before anybody asked.
    assert runner.model.current.calls == [1]


def test_a_new_version_is_warmed_up_and_takes_over() -> None:
    runner = SumsRunner()
    assert runner.model.reload("v2") == ModelRef("sums", "v2")
    assert runner.loaded[-1].calls == [1]
    runner.call(ROW)
    assert runner.model.answered == ModelRef("sums", "v2")
    assert runner.model.reload("v1").version == "v1"


@pytest.mark.parametrize(("version", "error"), [("missing", ArtifactMissing), ("broken", ValueError)])
def test_a_version_that_cannot_be_loaded_leaves_the_old_one(version: str, error: type[Exception]) -> None:
    runner = SumsRunner()
    with pytest.raises(error):
        runner.model.reload(version)
    runner.call(ROW)
    assert runner.model.answered == ModelRef("sums", "v1")


def test_a_version_that_answers_nan_leaves_the_old_one() -> None:
    class Poisoned(Sums):
        def predict(self, rows: np.ndarray) -> object:
            return np.full((len(rows), 1), np.nan if self.version == "v2" else 1.0)

    slot = LoadedVersions(
        lambda version: Poisoned(version or "v1"), warm_up=lambda model: model.predict(model.example())
    )
    with pytest.raises(ArtifactInvalid, match="NaN"):
        slot.reload("v2")
    assert slot.model.version == "v1"


def test_the_old_version_drains_before_reload_returns() -> None:
    runner = SumsRunner()
    entered, leave = threading.Event(), threading.Event()

    def long_call() -> str:
        with runner.model.lease() as model:
            entered.set()
            leave.wait(120)
            return model.version

    with ThreadPoolExecutor(2) as pool:
        old = pool.submit(long_call)
        assert entered.wait(120)
        reloading = pool.submit(runner.model.reload, "v2")
        while runner.model.model.version != "v2":
            time.sleep(0.001)
        # New calls get the new version while the old one is still answering.
        runner.call(ROW)
        assert runner.model.answered.version == "v2"
        assert not reloading.done()
        leave.set()
        assert reloading.result(120).version == "v2"
        assert old.result(120) == "v1"


def test_a_call_that_never_ends_does_not_hold_reload_for_ever() -> None:
    runner = SumsRunner()
    with runner.model.lease():
        assert runner.model.reload("v2", drain_s=0.01).version == "v2"


def test_many_threads_and_many_reloads_lose_nothing() -> None:
    runner = SumsRunner()
    begun, stop = threading.Barrier(5), threading.Event()

    def ask() -> int:
        begun.wait(120)
        answered = 0
        while not stop.is_set() or not answered:
            assert runner.call(ROW)[0, 0] == 3
            assert runner.model.answered.version.startswith("v")
            answered += 1
        return answered

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        begun.wait(120)
        for number in range(50):
            runner.model.reload(f"v{number}")
        stop.set()
        assert all(each.result(120) > 0 for each in asking)
    assert runner.model._held.calls == 0


def asked_of(runner: SumsRunner, version: str) -> str:
    token = wanted_version.set(version)
    try:
        runner.call(ROW)
        return runner.model.answered.version
    finally:
        wanted_version.reset(token)


def test_versions_are_held_beside_the_default_one_and_warmed_up_first() -> None:
    runner = SumsRunner()
    assert runner.model.hold(["v2", "v3", "v2"]) == ("v2", "v3")
    assert [model.calls for model in runner.loaded[1:]] == [[1], [1]]
    assert [asked_of(runner, version) for version in ("", "v1", "v2", "v3")] == ["v1", "v1", "v2", "v3"]
    with pytest.raises(VersionNotLoaded):
        asked_of(runner, "v4")


def test_what_is_held_already_is_not_loaded_again() -> None:
    runner = SumsRunner()
    runner.model.hold(["v1", "v2"])
    runner.model.hold(["v2", "v3", "v1"])
    assert [model.version for model in runner.loaded] == ["v1", "v2", "v3"]


@pytest.mark.parametrize(("version", "error"), [("missing", ArtifactMissing), ("broken", ValueError)])
def test_one_that_cannot_be_held_changes_nothing(version: str, error: type[Exception]) -> None:
    runner = SumsRunner()
    runner.model.hold(["v2"])
    with pytest.raises(error):
        runner.model.hold(["v3", version])
    assert runner.model.versions == ("v2",)
    assert asked_of(runner, "v2") == "v2"
    with pytest.raises(VersionNotLoaded):
        asked_of(runner, "v3")


def test_one_that_is_held_no_more_answers_on_for_a_while_and_is_then_let_go() -> None:
    slot = LoadedVersions(
        lambda version: Sums(version or "v1"), warm_up=lambda model: model.predict(model.example()), linger_s=60
    )
    slot.hold(["v2"])
    token = wanted_version.set("v2")
    try:
        slot.hold([])
        assert slot.versions == ()
        with slot.lease() as model:
            assert model.version == "v2"
            slot._let_go()
            # Who has it keeps it.
            assert model.predict(ROW).tolist() == [[3]]
        with pytest.raises(VersionNotLoaded), slot.lease():
            pass
    finally:
        wanted_version.reset(token)


def test_a_reload_keeps_the_versions_that_are_held_and_the_old_one_if_it_is_among_them() -> None:
    runner = SumsRunner()
    runner.model.hold(["v1", "v2"])
    assert runner.model.reload("v3").version == "v3"
    assert [asked_of(runner, version) for version in ("", "v1", "v2", "v3")] == ["v3", "v1", "v2", "v3"]
    runner.model.reload("v2")
    assert [asked_of(runner, version) for version in ("", "v1", "v2")] == ["v2", "v1", "v2"]
    assert runner.model.versions == ("v1", "v2")


def test_a_runner_starts_with_the_versions_that_it_is_told_and_without_those_that_do_not_load() -> None:
    runner = SumsRunner()
    slot = LoadedVersions(
        runner.load,
        warm_up=lambda model: model.predict(model.example()),
        start=StartVersions("v2", ("v1", "broken", "v2", "missing")),
    )
    assert slot.model.version == "v2"
    assert slot.versions == ("v1", "v2")

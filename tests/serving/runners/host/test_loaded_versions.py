"""Another version replaces the default one without a failed call, or fails with a reason and changes nothing."""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from models.errors import ArtifactInvalid, ArtifactMissing, VersionNotLoaded
from serving.process.heartbeat import Heartbeat
from serving.runners.host import loaded_versions
from serving.runners.host.loaded_versions import LoadedVersions, StartVersions, requested_version
from serving.runners.interface import ModelRef
from tests.serving.runners.sum_predictors import Sums, SumsRunner

ROW = np.ones((1, 3), np.float32)


def test_the_configured_version_is_the_first_default() -> None:
    runner = SumsRunner()
    assert runner.model.model == ModelRef("sums", "v1")
    # The warm-up precedes every call.
    assert runner.model.predictor.calls == [1]


def test_a_new_version_is_warmed_up_and_becomes_the_default() -> None:
    runner = SumsRunner()
    assert runner.model.reload("v2") == ModelRef("sums", "v2")
    assert runner.loaded[-1].calls == [1]
    runner.call(ROW)
    assert runner.model.last_used == ModelRef("sums", "v2")
    assert runner.model.reload("v1").version == "v1"


@pytest.mark.parametrize(("version", "error"), [("missing", ArtifactMissing), ("broken", ValueError)])
def test_a_version_that_cannot_be_loaded_leaves_the_old_one(version: str, error: type[Exception]) -> None:
    runner = SumsRunner()
    with pytest.raises(error):
        runner.model.reload(version)
    runner.call(ROW)
    assert runner.model.last_used == ModelRef("sums", "v1")


def test_a_version_that_answers_nan_leaves_the_old_one() -> None:
    class Poisoned(Sums):
        def predict(self, rows: np.ndarray) -> object:
            return np.full((len(rows), 1), np.nan if self.version == "v2" else 1.0)

    versions = LoadedVersions(
        lambda version: Poisoned(version or "v1"), warm_up=lambda model: model.predict(model.example())
    )
    with pytest.raises(ArtifactInvalid, match="NaN"):
        versions.reload("v2")
    assert versions.model.version == "v1"


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
        assert runner.model.last_used.version == "v2"
        assert not reloading.done()
        leave.set()
        assert reloading.result(120).version == "v2"
        assert old.result(120) == "v1"


def test_a_call_that_never_ends_does_not_block_a_reload() -> None:
    runner = SumsRunner()
    with runner.model.lease():
        assert runner.model.reload("v2", drain_s=0.01).version == "v2"


@pytest.mark.slow
def test_many_threads_and_many_reloads_lose_nothing() -> None:
    runner = SumsRunner()
    begun, stop = threading.Barrier(5), threading.Event()

    def ask() -> int:
        begun.wait(120)
        answered = 0
        while not stop.is_set() or not answered:
            assert runner.call(ROW)[0, 0] == 3
            assert runner.model.last_used.version.startswith("v")
            answered += 1
        return answered

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        begun.wait(120)
        for number in range(50):
            runner.model.reload(f"v{number}")
        stop.set()
        assert all(each.result(120) > 0 for each in asking)
    assert runner.model._default.calls == 0


def version_used(runner: SumsRunner, version: str) -> str:
    token = requested_version.set(version)
    try:
        runner.call(ROW)
        return runner.model.last_used.version
    finally:
        requested_version.reset(token)


def test_held_versions_are_warmed_up_and_answer_the_calls_that_name_them() -> None:
    runner = SumsRunner()
    assert runner.model.hold(["v2", "v3", "v2"]) == ("v2", "v3")
    assert [model.calls for model in runner.loaded[1:]] == [[1], [1]]
    assert [version_used(runner, version) for version in ("", "v1", "v2", "v3")] == ["v1", "v1", "v2", "v3"]
    with pytest.raises(VersionNotLoaded):
        version_used(runner, "v4")


def test_a_loaded_version_is_not_loaded_again() -> None:
    runner = SumsRunner()
    runner.model.hold(["v1", "v2"])
    runner.model.hold(["v2", "v3", "v1"])
    assert [model.version for model in runner.loaded] == ["v1", "v2", "v3"]


@pytest.mark.parametrize(("version", "error"), [("missing", ArtifactMissing), ("broken", ValueError)])
def test_a_hold_that_fails_changes_nothing(version: str, error: type[Exception]) -> None:
    runner = SumsRunner()
    runner.model.hold(["v2"])
    with pytest.raises(error):
        runner.model.hold(["v3", version])
    assert runner.model.versions == ("v2",)
    assert version_used(runner, "v2") == "v2"
    with pytest.raises(VersionNotLoaded):
        version_used(runner, "v3")


def lingering(linger_s: float = 60) -> LoadedVersions[Sums]:
    """Return versions that stay for `linger_s` after they were replaced or dropped; `expire` ends that."""
    return LoadedVersions(
        lambda version: Sums(version or "v1"), warm_up=lambda model: model.predict(model.example()), linger_s=linger_s
    )


def expire(versions: LoadedVersions[Sums]) -> None:
    versions._drop(list(versions._others.values()))


@contextlib.contextmanager
def requesting(version: str) -> Iterator[None]:
    token = requested_version.set(version)
    try:
        yield
    finally:
        requested_version.reset(token)


def test_a_version_that_is_no_longer_held_answers_until_gateways_have_noticed() -> None:
    versions = lingering()
    versions.hold(["v2"])
    with requesting("v2"):
        versions.hold([])
        assert versions.versions == ()
        with versions.lease() as model:
            assert model.version == "v2"
            expire(versions)
            # A call in flight keeps its predictor.
            assert model.predict(ROW).tolist() == [[3]]
        with pytest.raises(VersionNotLoaded), versions.lease():
            pass


def test_a_replaced_version_answers_the_calls_that_name_it_until_gateways_have_noticed() -> None:
    versions = lingering()
    versions.reload("v2")
    with requesting("v1"):
        with versions.lease() as model:
            assert model.version == "v1"
        expire(versions)
        with pytest.raises(VersionNotLoaded), versions.lease():
            pass
    assert versions.model.version == "v2"
    assert versions.versions == ()


def test_a_version_that_is_wanted_again_is_not_dropped() -> None:
    versions = lingering()
    versions.reload("v2")
    old = list(versions._others.values())
    versions.hold(["v1"])
    versions._drop(old)
    with requesting("v1"), versions.lease() as model:
        assert model.version == "v1"


def test_a_replaced_version_frees_its_memory() -> None:
    versions = lingering(0.01)
    released = threading.Event()
    versions.on_release = released.set
    predictor = weakref.ref(versions.predictor)
    versions.reload("v2")
    assert released.wait(120)
    assert predictor() is None


def test_a_reload_keeps_the_held_versions() -> None:
    runner = SumsRunner()
    runner.model.hold(["v1", "v2"])
    assert runner.model.reload("v3").version == "v3"
    assert [version_used(runner, version) for version in ("", "v1", "v2", "v3")] == ["v3", "v1", "v2", "v3"]
    runner.model.reload("v2")
    assert [version_used(runner, version) for version in ("", "v1", "v2")] == ["v2", "v1", "v2"]
    assert runner.model.versions == ("v1", "v2")


def test_a_runner_starts_without_the_versions_that_do_not_load() -> None:
    runner = SumsRunner()
    versions = LoadedVersions(
        runner.load,
        warm_up=lambda model: model.predict(model.example()),
        start=StartVersions("v2", ("v1", "broken", "v2", "missing")),
    )
    assert versions.model.version == "v2"
    assert versions.versions == ("v1", "v2")


def test_a_version_that_is_being_loaded_is_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    heartbeat = Heartbeat()
    monkeypatch.setattr(loaded_versions, "heartbeat", heartbeat)
    seen: list[int] = []

    def load(version: str | None) -> Sums:
        seen.append(heartbeat._loading)
        return Sums(version or "v1")

    versions = LoadedVersions(load, warm_up=lambda model: seen.append(heartbeat._loading))
    versions.reload("v2")
    assert seen == [1, 1, 1, 1]
    assert heartbeat._loading == 0

"""Brings the runners and routers of one gateway to the desired state, and changes that state.

A change is tried on the runner first: a version is loaded and must answer its own example before the state names it.
Then every gateway of the host follows the state file, and a runner that lost versions loads them again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from models.errors import ArtifactError, ArtifactInvalid, ArtifactMissing, NotKnown, RunnerError
from models.watch import Watch, reason_of
from serving.concurrency import TaskSet, cancel_and_wait
from serving.errors.exceptions import FieldFault, ReloadRefused
from serving.runners.interface import ModelRef
from serving.schemas.fields import EXAMPLE_MODEL
from serving.versions.attempts import Attempts
from serving.versions.deployed_model import DeployedModel, StoredArtifact
from serving.versions.report import ModelReport, report_model
from serving.versions.split_check import check_split
from serving.versions.state import DeploymentState, ModelState
from serving.versions.traffic_split import NO_SPLIT, TrafficSplit

log = logging.getLogger("makunouchi.deployment")

T = TypeVar("T")

PASS_EVERY_S = 1.0
CHANGE_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """The default version after a reload and before it."""

    model: ModelRef
    previous: ModelRef | None
    duration_ms: float


@dataclass(slots=True)
class _Progress:
    """How far one model has been brought to its desired state."""

    store: Watch
    passes: Watch
    looked: float = field(default_factory=time.monotonic)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    task: asyncio.Task[None] | None = None
    reload_id: str = ""
    active: ModelRef | None = None
    reloads: Attempts = field(default_factory=Attempts)
    holds: Attempts = field(default_factory=Attempts)

    @classmethod
    def of(cls, name: str) -> _Progress:
        store = Watch("model_store", f"look up {name} in the model store", keeps="its versions remain", log=log)
        passes = Watch("reconciler", f"bring {name} to its desired state", keeps="its versions remain", log=log)
        return cls(store, passes)

    def close(self) -> None:
        """End the faults of a model that is not served any longer."""
        self.store.close()
        self.passes.close()


class Reconciler:
    """Reconciler of `models`. Each split may name `max_versions` versions.

    Every `watch_s` seconds, or those of the model, it looks up which version the configured tag of each model names
    now, a newer one or the one that an alias was moved to; 0 never does.
    """

    def __init__(
        self,
        models: Sequence[DeployedModel[StoredArtifact]],
        state: DeploymentState,
        *,
        max_versions: int = 3,
        watch_s: float = 0.0,
    ) -> None:
        self._callbacks: list[Callable[[], object]] = []
        self._models: dict[str, DeployedModel[StoredArtifact]] = {}
        self._progress: dict[str, _Progress] = {}
        self.replace(models)
        self._state = state
        self._max_versions = max_versions
        self._watch_s = watch_s
        self._changes = TaskSet()
        self._task: asyncio.Task[None] | None = None
        self._passes = Watch("reconciler", "follow the desired state", keeps="the versions remain", log=log)

    def replace(self, models: Sequence[DeployedModel[StoredArtifact]]) -> None:
        """Reconcile these models from now on. A change of one that is left out runs to its end."""
        old, self._models = self._models, {model.name: model for model in models}
        for name in [name for name, model in old.items() if self._models.get(name) is not model]:
            self._progress.pop(name).close()
        for name in self._models.keys() - self._progress.keys():
            self._progress[name] = _Progress.of(name)
        for callback in self._callbacks:
            callback()

    @property
    def example(self) -> str:
        """The name of a model, for the examples of the document."""
        return next(iter(self._models), EXAMPLE_MODEL)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models."""
        return tuple(self._models)

    def model(self, name: str) -> DeployedModel[StoredArtifact]:
        """Return one model. Raises NotKnown with the names of the served ones."""
        model = self._models.get(name)
        if model is None:
            known = ", ".join(self._models)
            raise NotKnown(f"no model '{name[:100]}' is served; served: {known}", location=("path", "name"))
        return model

    def report(self, name: str) -> ModelReport:
        """Return the actual state of a model against the desired one. Raises NotKnown."""
        model, progress = self.model(name), self._progress[name]
        return report_model(model, self._state.last(name), error=progress.reloads.error or progress.holds.error)

    def on_change(self, callback: Callable[[], object]) -> None:
        """Call `callback` each time the default version of a model has changed."""
        self._callbacks.append(callback)

    async def reload(self, name: str, version: str | None, *, timeout_s: float = CHANGE_TIMEOUT_S) -> ReloadResult:
        """Make `version` the default one and pin it; without one, what the configured tag resolves to now.

        Of an alias, the version that it names now is pinned.

        Raises NotKnown for an unknown model or version, ReloadRefused with the reason when the version cannot be
        loaded or does not answer its example, and RunnerUnavailable; the previous version then remains the default.
        A caller that is cancelled does not stop the reload.
        """
        return await self._changes.run(self._reload(self.model(name), version, timeout_s))

    async def _reload(
        self, model: DeployedModel[StoredArtifact], version: str | None, timeout_s: float
    ) -> ReloadResult:
        progress = self._progress[model.name]
        async with progress.lock:
            started = time.perf_counter()
            previous = model.runner.last_status.model
            try:
                active = await model.runner.reload(version, timeout_s=timeout_s)
            except ArtifactMissing as error:
                raise NotKnown(str(error), location=("body", "version")) from error
            except ArtifactError as error:
                remains = f"version '{previous.version}'" if previous else "the previous version"
                raise ReloadRefused(f"{error}; {remains} remains the default") from error
            pinned = active.version if version else None
            state = await asyncio.to_thread(self._state.pin, model.name, pinned, configured=model.configured)
            progress.reload_id, progress.active = state.reload_id, active
            progress.reloads.settle()
            self._notify()
        return ReloadResult(active, previous, round(1e3 * (time.perf_counter() - started), 1))

    async def set_split(self, name: str, split: TrafficSplit, *, timeout_s: float = CHANGE_TIMEOUT_S) -> ModelReport:
        """Split the traffic of a model once every version of `split` is loaded and has answered its example.

        Raises NotKnown for an unknown model or version, FieldFault for too many versions, ReloadRefused with the reason
        when a version cannot be loaded, and RunnerUnavailable; the split then remains as it was. A caller that is
        cancelled does not stop the change.
        """
        model = self.model(name)
        if len(split.versions) > self._max_versions:
            message = f"{len(split.versions)} versions are named; at most {self._max_versions} may be loaded for this"
            raise FieldFault(message, location=("body", "weights"), value_type="object")
        await self._changes.run(self._set_split(model, split, timeout_s))
        return self.report(name)

    async def _set_split(self, model: DeployedModel[StoredArtifact], split: TrafficSplit, timeout_s: float) -> None:
        progress = self._progress[model.name]
        async with progress.lock:
            split = await asyncio.to_thread(check_split, model.artifacts, split)
            try:
                await model.runner.hold(split.versions, timeout_s=timeout_s)
            except ArtifactMissing as error:
                raise NotKnown(str(error), location=("body", "weights")) from error
            except ArtifactError as error:
                raise ReloadRefused(f"{error}; the traffic split is unchanged") from error
            state = await asyncio.to_thread(self._state.set_split, model.name, split)
            model.router.split = state.split
            progress.holds.settle()
        log.info("%s: traffic split by %s, shadow %s", model.name, dict(split.weights) or "default", split.shadow)

    async def clear_split(self, name: str, *, timeout_s: float = CHANGE_TIMEOUT_S) -> ModelReport:
        """Send all traffic of a model to its default version. Raises NotKnown and RunnerUnavailable."""
        return await self.set_split(name, NO_SPLIT, timeout_s=timeout_s)

    def start(self) -> None:
        """Apply the saved splits and start the loop. Runners load the saved versions at their own start."""
        self._state.models()
        for name, model in self._models.items():
            state = self._state.last(name)
            model.router.split = state.split
            self._progress[name].reload_id = state.reload_id
        self._task = asyncio.get_running_loop().create_task(self._run(), name="reconciler")

    async def stop(self) -> None:
        """Stop the loop, changes that it has begun, and shadow calls."""
        task, self._task = self._task, None
        await cancel_and_wait(task)
        await self._changes.cancel()
        for name, model in self._models.items():
            await cancel_and_wait(self._progress[name].task)
            model.router.close()

    async def _run(self) -> None:
        while True:
            with self._passes.attempt():
                await asyncio.to_thread(self._state.models)
                self._start_pass()
            watches = (self._watch_of(model) for model in self._models.values())
            await asyncio.sleep(min([PASS_EVERY_S, *(watch_s for watch_s in watches if watch_s)]))

    def _watch_of(self, model: DeployedModel[StoredArtifact]) -> float:
        return self._watch_s if model.watch_s is None else model.watch_s

    def _start_pass(self) -> None:
        """Start a task for each model that has none: one that loads for minutes delays no other."""
        for name, model in self._models.items():
            progress = self._progress[name]
            if not progress.lock.locked() and (progress.task is None or progress.task.done()):
                watch_s = self._watch_of(model)
                is_watch_due = bool(watch_s) and time.monotonic() - progress.looked >= watch_s
                if is_watch_due:
                    progress.looked = time.monotonic()
                progress.task = asyncio.get_running_loop().create_task(
                    self._reconcile(model, progress, is_watch_due=is_watch_due), name=f"reconcile {name}"
                )

    async def _reconcile(
        self, model: DeployedModel[StoredArtifact], progress: _Progress, *, is_watch_due: bool
    ) -> None:
        with progress.passes.attempt():
            async with progress.lock:
                desired = self._state.last(model.name)
                model.router.split = desired.split
                if model.runner.last_status.ready:
                    await self._reconcile_default(model, progress, desired, is_watch_due=is_watch_due)
                    await self._reconcile_held(model, progress, desired)

    async def _reconcile_default(
        self,
        model: DeployedModel[StoredArtifact],
        progress: _Progress,
        desired: ModelState,
        *,
        is_watch_due: bool,
    ) -> None:
        active = model.runner.last_status.model
        if active != progress.active:
            is_first, progress.active = progress.active is None, active
            if not is_first:
                self._notify()
        pinned = desired.pinned_version(model.configured)
        is_open = desired.reload_id != progress.reload_id or progress.reloads.is_unconfirmed
        if active is None or (pinned is None and not is_watch_due and not is_open):
            return
        wanted = pinned or "configured"
        try:
            if pinned is None:
                wanted = await self._configured(model, progress)
            if wanted != active.version:
                if not progress.reloads.is_due((wanted, desired.reload_id)):
                    return
                progress.active = await model.runner.reload(pinned)
                log.info("%s: version %s is the default now", model.name, wanted)
                self._notify()
        except (ArtifactError, RunnerError, TimeoutError) as error:
            if progress.reloads.fail(error):
                log.error("%s cannot change to version %s: %s", model.name, wanted, error)
        else:
            progress.reload_id = desired.reload_id
            progress.reloads.settle()

    async def _configured(self, model: DeployedModel[StoredArtifact], progress: _Progress) -> str:
        """Return the version that the configured tag resolves to now. Raises ArtifactError."""
        try:
            artifact = await asyncio.to_thread(model.artifacts.find, None)
        except Exception as error:
            progress.store.fail(error)
            raise ArtifactInvalid(f"the model store: {reason_of(error)}") from error
        progress.store.recover()
        return artifact.version

    async def _reconcile_held(
        self, model: DeployedModel[StoredArtifact], progress: _Progress, desired: ModelState
    ) -> None:
        wanted = desired.split.versions
        if set(model.runner.last_status.versions) == set(wanted):
            progress.holds.settle()
            return
        if not progress.holds.is_due(wanted):
            return
        try:
            await model.runner.hold(wanted)
        except (ArtifactError, RunnerError, TimeoutError) as error:
            # Requests for a version that is not loaded go to the default one.
            if progress.holds.fail(error):
                log.error("%s cannot load versions %s: %s", model.name, ", ".join(wanted), error)
        else:
            progress.holds.settle()

    def _notify(self) -> None:
        for callback in self._callbacks:
            callback()

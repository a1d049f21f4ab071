"""Adds, changes and removes models while the service runs, and brings every gateway to the desired models.

A change is tried on the runner first: a model is loaded and must answer its example before the state names it. Then
every gateway of the host follows the state, and a runner that lost models loads them again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

from models.errors import (
    ArtifactError,
    ArtifactMissing,
    InvalidInput,
    NotKnown,
    PlatformError,
    RunnerError,
    SettingsInvalid,
)
from models.store.artifacts import names
from models.store.sources.source import label_of
from models.watch import Watch
from serving.bento.bento_model import BentoModel, FailedModel
from serving.bento.memory_check import check_memory
from serving.bento.model_reports import entry_of_store, failed_entry, key_fault, served_entry
from serving.bento.model_settings import KeyInvalid, Resolved, check_steps
from serving.bento.models import BentoModels
from serving.bento.pipeline import Candidate, pipeline_fault
from serving.bento.source_watch import SourceWatch
from serving.concurrency import TaskSet, ThreadPool, cancel_and_wait
from serving.errors.exceptions import ModelFailed, ModelRefused
from serving.runners.placement import Placed
from serving.settings.model_list import MAX_MODELS, ModelEntry, conflicting_name
from serving.versions.attempts import Attempts
from serving.versions.model_changes import ServedEntry
from serving.versions.reconciler import Reconciler
from serving.versions.state import DeploymentState, EntryChange

log = logging.getLogger("makunouchi.models")

PASS_EVERY_S: Final = 0.5
# Changes whose artifacts are fetched at the same time.
FETCHES: Final = 4
LOAD_TIMEOUT_S: Final = 300.0
# A removed model keeps its handle for requests that are being read, and its memory until every gateway has noticed.
RETIRE_S: Final = 5.0
UNLOAD_S: Final = 10.0
# Before a model that cannot be served is tried again.
FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 300.0


class ModelDirectory:
    """The models of one gateway. Its methods are those of `ModelChanges`."""

    def __init__(self, models: BentoModels, state: DeploymentState, reconciler: Reconciler) -> None:
        self._models = models
        self._state = state
        self._reconciler = reconciler
        self._lock = asyncio.Lock()
        self._attempts: dict[str, Attempts] = {}
        # Since when a runner has a model that no gateway needs.
        self._unneeded: dict[tuple[int, str], float] = {}
        self._tasks = TaskSet()
        self._loop: asyncio.Task[None] | None = None
        self._sources = SourceWatch(models.watched, self._refresh, every_s=models.source_watch_s)
        # The versions that the watch has fetched, and why it could not, by model and source.
        self._fetched: dict[tuple[str, str], str] = {}
        self._unread: dict[tuple[str, str], str] = {}
        # A thread of it does not delay the end of the process, however long a fetch takes.
        self._fetches = ThreadPool(FETCHES, name="fetches")
        self._passes = Watch("models", "follow the desired models", keeps="the models remain", log=log)

    def entries(self) -> list[ServedEntry]:
        """Return every model of the service, in the same order in every gateway."""
        entries = {model.name: served_entry(model) for model in self._models}
        for name, failed in self._models.failed.items():
            entries[name] = failed_entry(failed, self._unread.get(_key(failed.entry), ""))
        return [entries[name] for name in self._models.in_order(entries)]

    def known(self) -> list[str]:
        """Return the names in the store, and the configured ones."""
        return sorted({*names(), *(entry.name for entry in self._models.configured)})

    def missing(self, name: str) -> Exception:
        """Return the error of a request to a model that is not served."""
        if name in self._models.failed:
            return ModelFailed(f"the model '{name}' could not be loaded; GET /v1/models has the reason")
        known = ", ".join(sorted(self._models.by_name)[:50]) or "none"
        return NotKnown(f"no model '{name[:100]}' is served; served: {known}", location=("path", "name"))

    async def put(self, entry: ModelEntry) -> tuple[ServedEntry, bool]:
        """Add or change a model. A caller that is cancelled does not stop the change."""
        return await self._tasks.run(self._put(entry))

    async def load(self, name: str) -> ServedEntry:
        """Serve the configured model `name`, or the artifact of this name."""
        desired = (await self._desired()).get(name)
        if desired is not None and name in self._models.by_name:
            return served_entry(self._models.by_name[name])
        configured = next((entry for entry in self._models.configured if entry.name == name), None)
        served, _ = await self.put(desired or configured or entry_of_store(name))
        return served

    async def remove(self, name: str) -> None:
        """Serve a model no longer."""
        await self._tasks.run(self._remove(name))

    def start(self) -> None:
        """Take over the models that were added since BentoML started the runners, and follow the state."""
        self._loop = asyncio.get_running_loop().create_task(self._follow(), name="models")
        self._sources.start()

    async def stop(self) -> None:
        """End the loop and the changes that have begun."""
        task, self._loop = self._loop, None
        await cancel_and_wait(task)
        await self._sources.stop()
        await self._tasks.cancel()
        self._fetches.close()

    def _refresh(self, entry: ModelEntry) -> None:
        """Fetch what the source of an entry holds now. Raises ArtifactError and SettingsInvalid."""
        try:
            self._fetched[_key(entry)] = self._models.refresh(entry)
        except PlatformError as error:
            self._unread[_key(entry)] = str(error)
            raise
        self._unread.pop(_key(entry), None)

    async def _fetch(self, entry: ModelEntry) -> None:
        """Fetch the artifact of a new or changed entry that names a source. Other changes do not wait for it."""
        model = self._models.by_name.get(entry.name)
        if model is not None and model.entry == entry:
            return
        try:
            await self._fetches.run(self._models.fetch, entry)
        except ArtifactMissing as error:
            raise NotKnown(str(error), location=("body", "artifact")) from error
        except (ArtifactError, SettingsInvalid) as error:
            raise ModelRefused(f"{error}; nothing has changed") from error

    async def _put(self, entry: ModelEntry) -> tuple[ServedEntry, bool]:
        await self._fetch(entry)
        async with self._lock:
            await self._pass(await self._desired())
            self._check(entry)
            old = self._models.by_name.get(entry.name)
            is_new = old is None and entry.name not in self._models.failed
            if old is None or old.entry != entry:
                try:
                    resolved = await asyncio.to_thread(self._models.resolve, entry)
                    await asyncio.to_thread(check_memory, [resolved.artifacts], what=f"'{entry.name}'")
                    resolved.kind.check(resolved.settings, entry.placement)
                    check_steps(entry)
                    candidate = Candidate(entry, resolved.artifacts, self._models.place(resolved))
                    if fault := pipeline_fault(self._models, new=candidate):
                        raise SettingsInvalid(fault)
                    model = await self._bring_up(resolved)
                except ArtifactMissing as error:
                    raise NotKnown(str(error), location=("body", "artifact")) from error
                except KeyInvalid as error:
                    raise key_fault(error) from error
                except (ArtifactError, SettingsInvalid) as error:
                    raise ModelRefused(f"{error}; nothing has changed") from error
                await asyncio.to_thread(self._save, entry.name, entry)
                self._publish(model)
                log.info("%s is served: %s", entry.name, label_of(entry.artifact))
            return served_entry(self._models.by_name[entry.name]), is_new

    async def _remove(self, name: str) -> None:
        async with self._lock:
            if name not in await self._desired():
                # Another gateway may have removed it.
                self._withdraw(name)
                raise self.missing(name)
            await asyncio.to_thread(self._save, name, None)
            self._withdraw(name)
            log.info("%s is served no longer", name)

    def _check(self, entry: ModelEntry) -> None:
        others = [*self._models.by_name, *self._models.failed]
        other = conflicting_name(entry.name, others)
        if other:
            raise InvalidInput(f"the name is too similar to that of '{other}'", location=("path", "name"))
        if entry.name not in others and len(others) >= MAX_MODELS:
            raise ModelRefused(f"the service has {len(others)} models, which is the most")

    def _save(self, name: str, entry: ModelEntry | None) -> None:
        configured = next((each for each in self._models.configured if each.name == name), None)
        base = None if configured is None else configured.spec()
        self._state.set_entry(name, EntryChange(None if entry is None else entry.spec(), base))

    async def _bring_up(self, resolved: Resolved) -> BentoModel:
        """Load a model in its runner and return the gateway's side of it. Raises ArtifactError, RunnerUnavailable."""
        placed = self._models.place(resolved)
        await self._load(resolved, placed)
        return self._models.connect(resolved, placed)

    async def _load(self, resolved: Resolved, placed: Placed[Any]) -> None:
        name = self._models.wire_name(resolved.entry)
        await placed.load(name, resolved.entry.spec(), timeout_s=LOAD_TIMEOUT_S)

    def _publish(self, model: BentoModel) -> None:
        old = self._models.by_name.get(model.name)
        self._models.add(model)
        self._announce()
        if old is not None:
            self._tasks.begin(self._retire(old))

    def _withdraw(self, name: str) -> None:
        if name not in self._models.by_name and name not in self._models.failed:
            return
        old = self._models.remove(name)
        self._announce()
        if old is not None:
            self._tasks.begin(self._retire(old))

    def _announce(self) -> None:
        self._reconciler.replace(self._models.deployed)
        self._models.handlers.replace(self._models.current_handlers())

    async def _retire(self, model: BentoModel) -> None:
        """Close what belongs to a model that requests do not reach any longer, once those in flight are answered."""
        try:
            await asyncio.sleep(RETIRE_S)
            until = time.monotonic() + model.settings.request_timeout_s
            while not model.handle.is_idle and time.monotonic() < until:
                await asyncio.sleep(PASS_EVERY_S)
        finally:
            model.handler.close()
            model.deployed.router.close()
            await model.placed.disconnect(model.handle)

    async def _follow(self) -> None:
        self._take_over()
        while True:
            await asyncio.sleep(PASS_EVERY_S)
            with self._passes.attempt():
                desired = await self._desired()
                async with self._lock:
                    await self._pass(desired)

    async def _desired(self) -> dict[str, ModelEntry]:
        return {entry.name: entry for entry in await asyncio.to_thread(self._models.desired)}

    def _take_over(self) -> None:
        """Place the models whose own runner starts with the service only in a runner that there is."""
        for name in self._models.seal():
            model = self._models.remove(name)
            if model is not None:
                self._models.failed[name] = FailedModel(model.entry, "not loaded yet")
        if self._models.failed:
            self._announce()

    async def _pass(self, desired: dict[str, ModelEntry]) -> None:
        for name in [*self._models.by_name, *self._models.failed]:
            if name not in desired:
                self._withdraw(name)
        for name, entry in desired.items():
            model = self._models.by_name.get(name)
            if model is None or model.entry != entry or model.is_lost:
                await self._try(entry, model)
        await self._unload_unneeded()

    async def _try(self, entry: ModelEntry, model: BentoModel | None) -> None:
        """Bring up one model that another gateway has changed, that failed, or that its runner has lost.

        An entry that is new to this gateway is tried at once, and again with pauses after failures, or when its source
        has another version.
        """
        attempts = self._attempts.setdefault(
            entry.name, Attempts(confirmations=1, first_pause_s=FIRST_PAUSE_S, longest_pause_s=LONGEST_PAUSE_S)
        )
        if not attempts.is_due((entry, self._fetched.get(_key(entry)))):
            return
        try:
            resolved = await asyncio.to_thread(self._models.resolve, entry)
            if model is not None and model.entry == entry:
                await self._load(resolved, model.placed)
                new = None
            else:
                new = await self._bring_up(resolved)
        except (ArtifactError, SettingsInvalid, RunnerError, TimeoutError) as error:
            if attempts.fail(error):
                log.error("%s cannot be served: %s", entry.name, error)
            if model is None:
                self._models.failed[entry.name] = FailedModel(entry, str(error))
            return
        attempts.settle()
        if new is not None:
            self._publish(new)

    async def _unload_unneeded(self) -> None:
        """Drop the models of runners that no gateway needs any longer."""
        now, known = time.monotonic(), self._unneeded
        self._unneeded = {}
        for runner in self._models.runners:
            needed = {connected.model for connected in runner.placed.models}
            for name in runner.placed.loaded() - needed:
                since = known.get((id(runner), name), now)
                if now - since >= UNLOAD_S:
                    self._tasks.begin(self._unload(runner.placed, name))
                    since = now
                self._unneeded[id(runner), name] = since

    async def _unload(self, placed: Placed[Any], name: str) -> None:
        try:
            await placed.unload(name, timeout_s=LOAD_TIMEOUT_S)
        except (ArtifactError, RunnerError, TimeoutError) as error:
            log.warning("%s remains in the memory of its runner: %s", name, error)


def _key(entry: ModelEntry) -> tuple[str, str]:
    return entry.name, entry.artifact

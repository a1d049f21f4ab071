"""The models of one runner process, by name, and their changes while the process runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from models.errors import ArtifactError, ArtifactInvalid
from models.watch import failing
from serving.process.startup import release_memory
from serving.runners.host.instance import RunnerInstance
from serving.runners.interface import RunnerStatus

log = logging.getLogger("makunouchi.runner")

Spec = Mapping[str, Any]  # Any: JSON, the entry of the model list


class HostedModels:
    """The models that a runner process answers for. The first one answers calls that name none.

    `create` loads the model of an entry; it runs in a thread and raises ArtifactError or what loading raises. Every
    other method runs in the event loop.
    """

    def __init__(self, create: Callable[[Spec], RunnerInstance] | None = None) -> None:
        self._create = create
        self._models: dict[str, RunnerInstance] = {}
        self._specs: dict[str, Spec] = {}
        self._failed: dict[str, str] = {}
        self._changing = asyncio.Lock()
        # Whether every model has been warmed up.
        self.is_warm = False

    @classmethod
    def of(cls, instance: RunnerInstance, *, is_warm: bool = False) -> HostedModels:
        """Return the models of a runner with one model, which has no name."""
        models = cls()
        models.is_warm = is_warm
        models._models[""] = instance
        return models

    def add(self, name: str, spec: Spec) -> None:
        """Load a model at the start of the process. One that cannot be loaded is recorded with its reason."""
        try:
            self._models[name] = self._load(name, spec)
        except ArtifactError as error:
            log.error("%s is not loaded: %s", name, error)
            self._failed[name] = str(error)
        else:
            self._specs[name] = dict(spec)

    def __iter__(self) -> Iterator[RunnerInstance]:
        return iter(self._models.values())

    def get(self, name: str) -> RunnerInstance | None:
        """Return a model, the first one for an empty name, or None."""
        return next(iter(self._models.values()), None) if not name else self._models.get(name)

    @property
    def is_ready(self) -> bool:
        """Whether the warm-up has ended and every model is ready."""
        return self.is_warm and not self._failed and all(each.status.ready for each in self)

    @property
    def status(self) -> RunnerStatus:
        """The status of the process: ready once every model has been warmed up, whether it answered or not."""
        return RunnerStatus(self.is_warm, None, "" if self.is_warm else "not warmed up yet", faults=failing())

    def status_of(self, name: str) -> RunnerStatus | None:
        """Return the status of one model, or None."""
        instance = self._models.get(name)
        if instance is not None:
            return instance.status
        reason = self._failed.get(name)
        return None if reason is None else RunnerStatus(ready=False, model=None, detail=reason)

    def statuses(self) -> dict[str, RunnerStatus]:
        """Return the status of each model by name, of those that could not be loaded too."""
        return {name: status for name in (*self._models, *self._failed) if (status := self.status_of(name))}

    async def warm_up(self) -> None:
        """Warm up every model. Never raises."""
        for instance in list(self._models.values()):
            await instance.warm_up()
        # Loading and the indexes of the warm-up leave much memory behind.
        await asyncio.to_thread(release_memory)
        self.is_warm = True

    async def load(self, name: str, spec: Spec) -> RunnerInstance:
        """Load a model, or replace the one of this name, once the new one has answered its example.

        The model that is loaded from the same entry remains. Raises ArtifactError with a reason to show; then nothing
        has changed.
        """
        async with self._changing:
            loaded = self._models.get(name)
            if loaded is not None and self._specs.get(name) == spec:
                return loaded
            new = await asyncio.to_thread(self._load, name, spec)
            await new.warm_up()
            if not new.status.ready:
                new.close()
                raise ArtifactInvalid(f"'{name}' did not answer its own example")
            self._models[name], self._specs[name] = new, dict(spec)
            self._failed.pop(name, None)
            if loaded is not None:
                loaded.close()
            del loaded
            await asyncio.to_thread(release_memory)
            log.info("%s is loaded", name)
            return new

    async def unload(self, name: str) -> None:
        """Drop a model and return its memory to the system. Calls in flight are answered."""
        async with self._changing:
            instance = self._models.pop(name, None)
            self._failed.pop(name, None)
            self._specs.pop(name, None)
            if instance is None:
                return
            await instance.idle()
            instance.close()
            del instance
            await asyncio.to_thread(release_memory)
            log.info("%s is unloaded", name)

    def close(self) -> None:
        """Start no further calls."""
        for instance in self:
            instance.close()

    def _load(self, name: str, spec: Spec) -> RunnerInstance:
        if self._create is None:
            raise ArtifactInvalid("this runner has one model, which cannot be changed")
        try:
            return self._create(spec)
        except ArtifactError:
            raise
        except Exception as error:
            log.exception("%s could not be loaded", name)
            raise ArtifactInvalid(f"'{name}' could not be loaded or warmed up") from error

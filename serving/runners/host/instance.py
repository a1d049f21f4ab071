"""A runner's instance in this process: its batch methods, its warm-up, its version, its reload. Knows no transport.

A runner class keeps what answers in `self.model`: a predictor (with `artifact`), or a `LoadedVersions` that holds one
and can swap it. `example()` of the predictor, or of the runner itself, is what the runner is
warmed up and tried out with.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from models.errors import ArtifactError, ArtifactInvalid
from serving.process.startup import freeze_live_objects
from serving.runners.host.batch_method import BatchMethod
from serving.runners.host.loaded_versions import LoadedVersions, model_ref
from serving.runners.interface import ModelRef, RunnerStatus
from serving.runners.wire import LOW_PRIORITY, WireRequest

log = logging.getLogger("makunouchi.runner")

WARM_UP_CALLS = 5


class RunnerInstance:
    """The batch methods of `instance`, by name.

    `methods` are the plain functions, bound to the instance. In a process that does nothing else they `may_block` its
    event loop for the fraction of a millisecond that a quick model takes; never in the gateway, which has deadlines to
    keep should such a model hang for once.
    """

    def __init__(
        self,
        instance: object,
        methods: dict[str, Callable[[Any], Any]],
        *,
        name: str,
        threads: int,
        may_block: bool = False,
    ) -> None:
        self.name = name
        self._instance = instance
        self._model: Any = getattr(instance, "model", None)  # Any: a predictor of any kind, or a LoadedVersions
        self.methods = {
            method: BatchMethod(
                function, answered=self._answered, name=f"{name}.{method}", threads=threads, may_block=may_block
            )
            for method, function in methods.items()
        }
        # What is asked aside has threads of its own: nothing else waits for it.
        self._aside = {
            LOW_PRIORITY + method: BatchMethod(function, answered=self._answered, name=f"{name}.{method} aside")
            for method, function in methods.items()
        }
        self._status = RunnerStatus(ready=False, model=None, detail="not warmed up yet")

    def answering(self, name: str) -> BatchMethod | None:
        """The method `name`; with `aside/` in front of it, for what nothing else may wait for."""
        return self.methods.get(name) or self._aside.get(name)

    @property
    def status(self) -> RunnerStatus:
        """Ready once the warm-up was answered, with the version that answers now."""
        if not self._status.ready:
            return self._status
        return RunnerStatus(ready=True, model=self.model, versions=self.versions)

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions that were asked to be held."""
        return self._model.versions if isinstance(self._model, LoadedVersions) else ()

    @property
    def model(self) -> ModelRef:
        """The version that answers now; a runner without an artifact is named after itself."""
        if isinstance(self._model, LoadedVersions):
            return self._model.model
        artifact = getattr(self._model, "artifact", None)
        return ModelRef(self.name, "none") if artifact is None else model_ref(artifact)

    def example(self) -> WireRequest | None:
        """One valid question, or None for a runner that offers no example."""
        held = self._model.current if isinstance(self._model, LoadedVersions) else self._model
        make = getattr(self._instance, "example", None) or getattr(held, "example", None)
        if make is None:
            return None
        payload = make()
        return WireRequest(payload, len(payload), "warm-up", float("inf"))

    async def warm_up(self) -> None:
        """Ask every method its example, then take what lives now out of the garbage collector's sight.

        Never raises: a runner that fails its warm-up is not ready, and its status says so.
        """
        started = time.perf_counter()
        try:
            example = self.example()
            for method in self.methods.values():
                if example is not None:
                    await method.warm_up(example, calls=WARM_UP_CALLS)
        except Exception:
            log.exception("%s did not answer its warm-up", self.name)
            self._status = RunnerStatus(ready=False, model=None, detail="did not answer its warm-up")
            return
        freeze_live_objects()
        self._status = RunnerStatus(ready=True, model=self.model)
        log.info("%s answered its warm-up in %.0f ms", self.name, 1000 * (time.perf_counter() - started))

    async def reload(self, version: str | None) -> ModelRef:
        """Swap in another version. Raises ArtifactError with a reason that may be shown; the old version serves on."""
        model: ModelRef = await self._change(lambda slot: slot.reload(version), version or "latest")
        # The old version is among what was spared: this lets it go.
        await self.warm_up()
        return model

    async def hold(self, versions: Sequence[str]) -> tuple[str, ...]:
        """Have exactly `versions` answer those who name them. Raises as `reload` does; then nothing has changed."""
        held: tuple[str, ...] = await self._change(lambda slot: slot.hold(versions), "', '".join(versions))
        freeze_live_objects()
        return held

    async def _change(
        self, change: Callable[[LoadedVersions[Any]], Any], versions: str
    ) -> Any:  # Any: what `change` gives
        if not isinstance(self._model, LoadedVersions):
            raise ArtifactInvalid("this runner cannot change its model while it runs")
        try:
            return await asyncio.to_thread(change, self._model)
        except ArtifactError:
            raise
        except Exception as error:
            log.exception("%s could not load version %s", self.name, versions)
            raise ArtifactInvalid(f"version '{versions}' could not be loaded or warmed up") from error

    def close(self) -> None:
        """Start nothing more."""
        for method in (*self.methods.values(), *self._aside.values()):
            method.close()

    def _answered(self) -> ModelRef:
        return self._model.answered if isinstance(self._model, LoadedVersions) else self.model

"""A runner in this process: its batch methods, its warm-up and its versions.

A runner class keeps its model in `self.model`: a predictor (with `artifact`), or `LoadedVersions`. The `example()` of
the predictor, or of the runner class, is the warm-up request.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from models.errors import ArtifactError, ArtifactInvalid
from serving.concurrency import ThreadPool
from serving.process.startup import freeze_live_objects, release_memory
from serving.runners.host.batch_method import BatchMethod
from serving.runners.host.loaded_versions import DRAIN_S, LoadedVersions, model_ref
from serving.runners.interface import ModelRef, RunnerStatus
from serving.runners.wire import LOW_PRIORITY, WireRequest

log = logging.getLogger("makunouchi.runner")

WARM_UP_CALLS = 5
IDLE_EVERY_S = 0.01


class RunnerInstance:
    """The batch methods of `instance`, by name.

    `methods` are plain functions bound to the instance. In a process that does nothing else they `may_block` the event
    loop for the fraction of a millisecond that a quick model takes. In the gateway they may not: it must keep deadlines
    when such a model hangs.
    """

    def __init__(
        self,
        instance: object,
        methods: dict[str, Callable[[Any], Any]],
        *,
        name: str,
        threads: int | ThreadPool,
        low_priority: ThreadPool | None = None,
        may_block: bool = False,
    ) -> None:
        self.name = name
        self._instance = instance
        self._model: Any = getattr(instance, "model", None)  # Any: a predictor of any kind, or LoadedVersions
        if isinstance(self._model, LoadedVersions):
            self._model.on_release = release_memory
            # User code may run an event loop, or be quick a hundred times and then wait for a network.
            may_block = may_block and getattr(self._model.predictor, "may_block_loop", True)
        self.methods = {
            method: BatchMethod(
                function,
                last_used=self._last_used,
                default=lambda: self.model,
                name=f"{name}.{method}",
                threads=threads,
                may_block=may_block,
            )
            for method, function in methods.items()
        }
        # Low-priority calls have their own threads, so that no other call waits for them.
        self._low_priority = {
            LOW_PRIORITY + method: BatchMethod(
                function,
                last_used=self._last_used,
                name=f"{name}.{method} low priority",
                threads=low_priority or 1,
                is_low_priority=True,
            )
            for method, function in methods.items()
        }
        self._status = RunnerStatus(ready=False, model=None, detail="not warmed up yet")

    def method(self, name: str) -> BatchMethod | None:
        """Return the method `name`, which may start with `LOW_PRIORITY`, or None."""
        return self.methods.get(name) or self._low_priority.get(name)

    @property
    def status(self) -> RunnerStatus:
        """Ready once the warm-up was answered, with the default version and the held ones."""
        if self._status.ready:
            model, versions = self.model, self.versions
            # Every request reads the status, and it rarely changes.
            if model is not self._status.model or versions is not self._status.versions:
                self._status = RunnerStatus(ready=True, model=model, versions=versions)
        return self._status

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions that `hold` was called with."""
        return self._model.versions if isinstance(self._model, LoadedVersions) else ()

    @property
    def model(self) -> ModelRef:
        """The default version. A runner without an artifact has its own name and the version "none"."""
        if isinstance(self._model, LoadedVersions):
            return self._model.model
        artifact = getattr(self._model, "artifact", None)
        return ModelRef(self.name, "none") if artifact is None else model_ref(artifact)

    def example(self) -> WireRequest | None:
        """Return one valid request, or None for a runner without an example."""
        predictor = self._model.predictor if isinstance(self._model, LoadedVersions) else self._model
        make = getattr(self._instance, "example", None) or getattr(predictor, "example", None)
        if make is None:
            return None
        payload = make()
        return WireRequest(payload, len(payload), "warm-up", float("inf"))

    async def warm_up(self) -> None:
        """Run the example through every method.

        Never raises: a runner that fails its warm-up is not ready, and its status has the reason.
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
        self._status = RunnerStatus(ready=True, model=self.model)
        log.info("%s answered its warm-up in %.0f ms", self.name, 1000 * (time.perf_counter() - started))

    async def reload(self, version: str | None) -> ModelRef:
        """Load another default version. Raises ArtifactError with a reason to show; the previous one then remains."""
        model: ModelRef = await self._change(lambda versions: versions.reload(version), version or "latest")
        await self.warm_up()
        freeze_live_objects()
        return model

    async def hold(self, versions: Sequence[str]) -> tuple[str, ...]:
        """Load exactly `versions` for the calls that name them. Raises as `reload`; then nothing has changed."""
        held: tuple[str, ...] = await self._change(lambda loaded: loaded.hold(versions), "', '".join(versions))
        freeze_live_objects()
        return held

    async def _change(
        self, change: Callable[[LoadedVersions[Any]], Any], versions: str
    ) -> Any:  # Any: what `change` returns
        if not isinstance(self._model, LoadedVersions):
            raise ArtifactInvalid("this runner cannot change its model while it runs")
        try:
            return await asyncio.to_thread(change, self._model)
        except ArtifactError:
            raise
        except Exception as error:
            log.exception("%s could not load version %s", self.name, versions)
            raise ArtifactInvalid(f"version '{versions}' could not be loaded or warmed up") from error

    async def idle(self, *, timeout_s: float = DRAIN_S) -> None:
        """Wait until no call is in flight, at most `timeout_s`."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until and not all(each.is_idle for each in self._all_methods()):
            await asyncio.sleep(IDLE_EVERY_S)

    def close(self) -> None:
        """Start no further calls."""
        for method in self._all_methods():
            method.close()
        release: Callable[[], object] | None = getattr(self._instance, "release", None)
        if release is not None:
            release()

    def _all_methods(self) -> tuple[BatchMethod, ...]:
        return (*self.methods.values(), *self._low_priority.values())

    def _last_used(self) -> ModelRef:
        return self._model.last_used if isinstance(self._model, LoadedVersions) else self.model

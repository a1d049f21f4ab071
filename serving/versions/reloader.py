"""Changes the version that a model answers with while it answers, and keeps every gateway of a host to it.

A reload is asked of the runner, which loads and warms up beside what serves. What was asked is pinned, so that a runner
that starts anew takes the same version, and a gateway with a runner of its own follows. Knows runners, no HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from models.errors import ArtifactError, ArtifactMissing, NotKnown, RunnerError
from serving.concurrency import cancel_and_wait
from serving.errors.exceptions import ReloadRefused
from serving.runners.interface import ModelRef, RunnerStatus
from serving.versions.state import Pins

log = logging.getLogger("makunouchi.reloads")

FOLLOW_EVERY_S = 1.0


class Reloadable(Protocol):
    """A runner whose model can be changed."""

    @property
    def last_status(self) -> RunnerStatus: ...

    async def reload(self, version: str | None, *, timeout_s: float = ...) -> ModelRef: ...


@dataclass(frozen=True, slots=True)
class Serves:
    """One model of the service. `find` gives the version that a tag's version, or None, means in the store now.

    `find` may read the disk, and raises ArtifactError. `configured` is the tag of the settings.
    """

    runner: Reloadable
    configured: str
    find: Callable[[str | None], str]


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload did."""

    model: ModelRef
    previous: ModelRef | None
    duration_ms: float


class Reloader:
    """Reloader the models of `serves`, by their names in the store. Follows the store every `watch_s`; 0 is never."""

    def __init__(self, serves: Mapping[str, Serves], pins: Pins, *, watch_s: float = 0.0) -> None:
        self._serves = dict(serves)
        self._pins = pins
        self._watch_s = watch_s
        self._done: list[Callable[[], object]] = []
        self._followed: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The models that can be reloaded."""
        return tuple(self._serves)

    def version(self, name: str) -> str | None:
        """The version of `name` that answers now, as far as is known here."""
        model = self._serves[name].runner.last_status.model
        return model.version if model else None

    def on_reload(self, call: Callable[[], object]) -> None:
        """Have `call` called after each change that this process makes or follows."""
        self._done.append(call)

    async def reload(self, name: str, version: str | None, *, timeout_s: float = 300.0) -> Reloaded:
        """Serve `version`, or without one the configured tag as the store has it now.

        Raises NotKnown for a model or a version that is not there, ReloadRefused with the reason when the version
        cannot be loaded or warmed up, and RunnerUnavailable; whatever it raises, the old version serves on.
        """
        serves = self._serves.get(name)
        if serves is None:
            known = ", ".join(self._serves)
            raise NotKnown(f"no model '{name[:100]}' is served; served: {known}", location=("path", "name"))
        started = time.perf_counter()
        previous = serves.runner.last_status.model
        try:
            model = await serves.runner.reload(version, timeout_s=timeout_s)
        except ArtifactMissing as error:
            raise NotKnown(str(error), location=("body", "version")) from error
        except ArtifactError as error:
            raise ReloadRefused(f"{error}; {previous.version if previous else 'the old version'} serves on") from error
        pin = self._pins.write(name, version, configured=serves.configured)
        if pin is not None:
            self._followed[name] = pin.serial
        self._refused.pop(name, None)
        self._tell()
        return Reloaded(model, previous, round(1e3 * (time.perf_counter() - started), 1))

    def start(self) -> None:
        """Follow, in the background: what other gateways are asked, and the store where that is wanted."""
        self._followed = {name: pin.serial for name in self._serves if (pin := self._pins.read(name)) is not None}
        self._task = asyncio.get_running_loop().create_task(self._follow(), name="reloads")

    async def stop(self) -> None:
        """End what `start` began."""
        task, self._task = self._task, None
        await cancel_and_wait(task)

    async def _follow(self) -> None:
        looked = time.monotonic()
        while True:
            await asyncio.sleep(min(FOLLOW_EVERY_S, self._watch_s) if self._watch_s else FOLLOW_EVERY_S)
            is_due = bool(self._watch_s) and time.monotonic() - looked >= self._watch_s
            if is_due:
                looked = time.monotonic()
            for name, serves in self._serves.items():
                try:
                    await self._look(name, serves, is_due=is_due)
                except Exception:
                    log.exception("%s could not be followed", name)

    async def _look(self, name: str, serves: Serves, *, is_due: bool) -> None:
        pin = await asyncio.to_thread(self._pins.read, name)
        serial = pin.serial if pin is not None else ""
        is_told = serial != self._followed.get(name, "")
        if not (is_told or is_due):
            return
        asked = pin.version if pin is not None and pin.configured == serves.configured else None
        try:
            wanted = await asyncio.to_thread(serves.find, asked)
        except ArtifactError as error:
            self._refuse(name, str(asked), error)
            return
        now = serves.runner.last_status.model
        if now is None or (wanted == self._refused.get(name) and not is_told):
            return
        if now.version != wanted:
            try:
                await serves.runner.reload(asked)
            except (ArtifactError, RunnerError, TimeoutError) as error:
                self._refuse(name, wanted, error)
            else:
                log.info("%s: version %s was found and taken", name, wanted)
        self._followed[name] = serial
        self._tell()

    def _refuse(self, name: str, version: str, error: Exception) -> None:
        if self._refused.get(name) != version:
            log.error("version %s of %s was not taken: %s", version, name, error)
        self._refused[name] = version

    def _tell(self) -> None:
        for call in self._done:
            call()

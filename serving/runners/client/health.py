"""The health of a runner in another process: whether it is up, and the last status of its models."""

from __future__ import annotations

import asyncio
import enum
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from serving.process.replacements import replaced_since
from serving.runners.interface import ModelRef, RunnerStatus

log = logging.getLogger("makunouchi.runners")

NOT_LOADED = RunnerStatus(ready=False, model=None, detail="the runner does not have this model")


# A process may have been replaced for so long when its connections are found lost.
_NOTICED_AFTER_S = 5.0


class State(enum.Enum):
    """State of the connection to a runner."""

    UNKNOWN = "not checked yet"
    UP = "up"
    CHECKING = "being checked"
    DOWN = "down"


class Health:
    """The health of the runner `name`, the name of its service, and the status of each of its models.

    `check_requested` is set when the runner must be checked.
    """

    def __init__(self, name: str) -> None:
        self.state = State.UNKNOWN
        self.check_requested = asyncio.Event()
        self._name = name
        self._down = RunnerStatus(ready=False, model=None, detail="not checked yet")
        self._models: dict[str, RunnerStatus] = {}
        self._failed_examples: dict[str, str] = {}
        self._watchers: dict[str, Callable[[bool], None]] = {}
        self._published: dict[str, bool] = {}
        self._checked = asyncio.Event()
        self._is_up = asyncio.Event()
        self._lost = time.monotonic()

    def status(self, model: str) -> RunnerStatus:
        """Return the last status of a model, or the reason why there is none."""
        if self.state in (State.UNKNOWN, State.DOWN):
            # Why its process was replaced says more than that it does not answer.
            reason = replaced_since(self._name, self._lost)
            return replace(self._down, detail=reason) if reason else self._down
        status = self._models.get(model, NOT_LOADED)
        if model in self._failed_examples:
            return replace(status, ready=False, detail=self._failed_examples[model])
        return status

    def loaded(self, model: str) -> bool:
        """Return whether the runner has reported that the model is loaded and warmed up."""
        return self._models.get(model, NOT_LOADED).ready

    def loaded_models(self) -> frozenset[str]:
        """Return the models that the runner has reported as loaded and warmed up."""
        return frozenset(name for name, status in self._models.items() if status.ready)

    def watch(self, model: str, on_state: Callable[[bool], None]) -> None:
        """Call `on_state` with whether a model is ready after each check of the runner, and when that changes."""
        self._watchers[model] = on_state

    def unwatch(self, model: str) -> None:
        """Call nothing for this model any longer."""
        for each in (self._watchers, self._published, self._failed_examples):
            each.pop(model, None)

    async def wait_until_checked(self) -> None:
        """Wait until it is known whether the runner is up."""
        await self._checked.wait()

    async def wait_until_up(self) -> None:
        """Wait until the runner is up."""
        await self._is_up.wait()

    def record(self, models: Mapping[str, RunnerStatus]) -> None:
        """Record the status of every model of a runner that answers. It applies while the runner is up."""
        if self._models != models:
            self._models = dict(models)
            self._publish_changes()

    def record_model(
        self, name: str, *, model: ModelRef | None = None, versions: tuple[str, ...] | None = None
    ) -> None:
        """Record what a change of one model has answered, until the runner reports it."""
        status = self._models.get(name, NOT_LOADED)
        if model is not None:
            status = replace(status, ready=True, model=model, detail="")
        if versions is not None:
            status = replace(status, versions=versions)
        self.record({**self._models, name: status})

    def record_example(self, model: str, failure: str) -> None:
        """Record whether a model has answered its example: an empty `failure` means that it has."""
        if failure and model not in self._failed_examples:
            log.warning("model %s of runner %s is not available: %s", model or "-", self._name, failure)
        if failure:
            self._failed_examples[model] = failure
        else:
            self._failed_examples.pop(model, None)
        self._publish_changes()

    @property
    def failed_examples(self) -> frozenset[str]:
        """The models that have not answered their last example."""
        return frozenset(self._failed_examples)

    def request_check(self) -> None:
        """Request a check after a fault on a connection; callers wait for its result."""
        if self.state is State.UP:
            self._leave_up()
            self.state = State.CHECKING
            self._checked.clear()
        self.check_requested.set()

    def set_up(self) -> None:
        """Record that the runner answers."""
        was_up, self.state = self.state is State.UP, State.UP
        self._is_up.set()
        if not was_up:
            log.info("runner %s is up", self._name)
        self._publish()

    def set_down(self, reason: str) -> None:
        """Record that the runner does not answer."""
        was_up = self.state is State.UP
        if was_up:
            self._leave_up()
        self.state = State.DOWN
        self._down = RunnerStatus(ready=False, model=None, detail=reason)
        if was_up or not self._checked.is_set():
            log.warning("runner %s is not available: %s", self._name, reason)
        self._publish()

    def close(self) -> None:
        """Record that the runner is no longer checked, so that no caller waits for a check."""
        self.state = State.DOWN
        self._checked.set()

    def _leave_up(self) -> None:
        self._is_up.clear()
        self._lost = time.monotonic() - _NOTICED_AFTER_S

    def _publish(self) -> None:
        self._checked.set()
        for model, on_state in self._watchers.items():
            self._published[model] = self.status(model).ready
            on_state(self._published[model])

    def _publish_changes(self) -> None:
        if self.state is not State.UP:
            return
        for model, on_state in self._watchers.items():
            is_ready = self.status(model).ready
            if self._published.get(model) is not is_ready:
                self._published[model] = is_ready
                on_state(is_ready)

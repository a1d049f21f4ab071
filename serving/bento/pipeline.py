"""Calls between models: user code in a runner's process asks other models by name.

Such a process is a client of the other runners as a gateway is: it has the handlers of all models, with their types,
queues and batches. A runner merges the calls of several clients. The calls have the deadline, the request id and the
trace of the request that is answered.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bentoml._internal.configuration.containers import BentoMLContainer
from pydantic import BaseModel, ValidationError

from models.errors import (
    ArtifactError,
    DeadlineExceeded,
    InputError,
    PredictionFailed,
    RunnerUnavailable,
    SettingsInvalid,
)
from models.store.artifact_cache import ArtifactCache
from serving.context import deadline
from serving.runners.placement import Placed
from serving.settings.model_list import ModelEntry
from serving.settings.settings import Settings

if TYPE_CHECKING:
    from serving.bento.bento_model import BentoModel
    from serving.bento.models import BentoModels

# At the start of the service, other runners take as long as they need to load.
_START_S: Final = 120.0
_CHECK_S: Final = 1.0


class Pipeline:
    """Asks the models of the service from threads of this process. Connects at the first call."""

    def __init__(self, models: BentoModels, settings: Settings) -> None:
        self._models = models
        self._settings = settings
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        # The models that have been ready, and when each was last compared with the desired state.
        self._known: set[str] = set()
        self._checked: dict[str, float] = {}

    def ask(self, name: str, rows: Sequence[Any]) -> list[Any]:  # Any: what the model takes and returns, as JSON
        """Return one prediction per row, with the context variables of this thread. Raises as `Peer.predict`."""
        if not rows:
            return []
        # The callback that makes the task has the context of this thread.
        return asyncio.run_coroutine_threadsafe(self._ask(name, list(rows)), self._running_loop()).result()

    async def _ask(self, name: str, rows: list[Any]) -> list[Any]:
        model = self._current(name)
        self._connect(model)
        await self._wait_until_known(model)
        method = next(iter(model.handler.native_methods.values()))
        try:
            response = await method(rows)
        except (InputError, ValidationError) as error:
            # The rows come from the user's code, not from the client.
            reason = str(error) if isinstance(error, InputError) else f"{error.error_count()} faults"
            raise PredictionFailed(f"model '{model.name}' refuses the rows: {reason}") from None
        content = response.model_dump(mode="json") if isinstance(response, BaseModel) else response
        predictions: list[Any] = content["predictions"]
        return predictions

    def _current(self, name: str) -> BentoModel:
        """Return a model as it is served now. Gateways add and change models while this process runs."""
        model = self._models.by_name.get(name)
        if model is not None and time.monotonic() < self._checked.get(name, 0.0) + _CHECK_S:
            return model
        entry = next((each for each in self._models.desired() if each.name == name), None)
        if entry is None:
            known = ", ".join(self._models.by_name)
            raise PredictionFailed(f"no model '{name}' is served; known: {known}")
        if model is None or model.entry != entry:
            try:
                self._models.seal()
                resolved = self._models.resolve(entry)
                model = self._models.connect(resolved, self._models.place(resolved))
            except (ArtifactError, SettingsInvalid) as error:
                raise RunnerUnavailable(f"model '{name}' cannot be asked: {error}") from error
            self._models.add(model)
            self._known.discard(name)
        self._checked[name] = time.monotonic()
        return model

    def _connect(self, model: BentoModel) -> None:
        """Connect to the runner of a model, if this process is not."""
        placed = model.placed
        if placed.runner is not None:
            return
        addresses: Mapping[str, str] = BentoMLContainer.remote_runner_mapping.get()
        if not placed.url and (placed.on is None or placed.on.name not in addresses):
            raise RunnerUnavailable(f"the runner of model '{model.name}' has no address that this process knows")
        placed.start(addresses, token=self._settings.runner_token.get_secret_value())

    async def _wait_until_known(self, model: BentoModel) -> None:
        """Wait until the model has been ready once: at the start of the service it may still be loading."""
        if model.name in self._known:
            return
        until = min(deadline(_START_S), time.monotonic() + _START_S)
        while not (status := await model.handle.status(timeout_s=_CHECK_S)).ready:
            if time.monotonic() > until:
                detail = f": {status.detail}" if status.detail else ""
                raise DeadlineExceeded(f"model '{model.name}' is not ready{detail}")
            await asyncio.sleep(0.05)
        self._known.add(model.name)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop of the calls. That of the process may wait for the user's code."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="pipeline", daemon=True).start()
            return self._loop


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that is about to be served, in the place of the one with its name."""

    entry: ModelEntry
    artifacts: ArtifactCache
    placed: Placed[Any]

    @property
    def name(self) -> str:
        """The name of the model in the API."""
        return self.entry.name


def pipeline_fault(models: BentoModels, *, new: Candidate | None = None) -> str:
    """Return why the calls between models cannot work, or an empty text: an unknown name, a cycle, a shared process."""
    by_name: dict[str, BentoModel | Candidate] = {model.name: model for model in models}
    if new is not None:
        by_name[new.name] = new
    uses = {name: _uses(model) for name, model in by_name.items()}
    known = uses.keys() | models.failed.keys()
    for name, others in uses.items():
        for other in others:
            if other not in known:
                return f"model '{name}' uses '{other}', which is not served; served: {', '.join(sorted(known))}"
            if other in by_name and (fault := _placement_fault(by_name[name], by_name[other])):
                return fault
    cycle = next(_cycles(uses), [])
    return f"models use each other in a cycle: {' -> '.join(cycle)}" if cycle else ""


def _uses(model: BentoModel | Candidate) -> tuple[str, ...]:
    try:
        code = model.artifacts.read().card.code
    except ArtifactError:
        return ()
    return code.uses if code is not None else ()


def _placement_fault(model: BentoModel | Candidate, other: BentoModel | Candidate) -> str:
    if model.name == other.name:
        return ""
    if model.placed is other.placed:
        return (
            f"model '{model.name}' uses '{other.name}', which runs in the same process; give one of them another "
            'process in models.toml: runner = "NAME"'
        )
    if other.entry.placement == "inline":
        return f"model '{model.name}' uses '{other.name}', whose placement is `inline`; it has to be `process` or a URL"
    return ""


def _cycles(uses: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> Iterator[list[str]]:
        if name in path:
            yield [*path[path.index(name) :], name]
            return
        if name not in done:
            for other in uses.get(name, ()):
                yield from visit(other, [*path, name])
            done.add(name)

    for name in uses:
        yield from visit(name, [])

"""The runners of the service: a BentoML service for each process that holds models."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import bentoml
import numpy as np
from numpy.typing import NDArray

from models.errors import SettingsInvalid
from serving.bento.config import service_config
from serving.bento.hosting import ModelHost
from serving.bento.runner import RunnerService
from serving.kinds.interface import BatchMethodSpec, Kind
from serving.process.bounds import RunnerBounds
from serving.runners.host.models import HostedModels
from serving.runners.placement import Placed, place
from serving.settings.model_list import RUNNER_KEYS, ModelEntry
from serving.settings.settings import Settings
from serving.versions.state import DeploymentState

# More calls than this do not run at a time in one process.
_MAX_THREADS: Final = 8


@dataclass(eq=False, slots=True)
class RunnerProcess:
    """One runner: its BentoML service, the entry that it was made for, and the names of its models."""

    service: Any  # Any: a BentoML service
    placed: Placed[Any]
    entry: ModelEntry
    models: set[str] = field(default_factory=set)

    @property
    def placement(self) -> str:
        """Where it is placed."""
        return self.entry.placement

    def is_for(self, entry: ModelEntry, *, at_run_time: bool) -> bool:
        """Return whether a model with `entry` can be in this runner; one that is added later takes it as it is."""
        keys = ("placement",) if at_run_time else RUNNER_KEYS
        return all(getattr(self.entry, key) == getattr(entry, key) for key in keys)

    @property
    def dependencies(self) -> tuple[Placed[Any], ...]:
        """The dependency of the gateway on each of its processes."""
        return (self.placed, *self.placed.replicas)


class Runners:
    """The runners by the name of their BentoML service.

    Before `seal` is called a new one is made for each that a model asks for. `desired` returns the entries that the
    processes load at their start.
    """

    def __init__(
        self,
        kinds: Sequence[Kind[Any]],
        settings: Settings,
        state: DeploymentState,
        *,
        source: Path,
        module: str,
        desired: Callable[[], Sequence[ModelEntry]],
        wire_name: Callable[[ModelEntry], str],
    ) -> None:
        self._kinds = kinds
        self._settings = settings
        self._state = state
        self._source = source
        self._module = module
        self._desired = desired
        self._wire_name = wire_name
        self._by_name: dict[str, RunnerProcess] = {}
        self._is_sealed = False

    def __iter__(self) -> Iterator[RunnerProcess]:
        return iter(self._by_name.values())

    def seal(self, running: Collection[str]) -> set[str]:
        """Make no further runners, and return the models of those without a process.

        `running` are the runners that BentoML has started, none where it runs everything in one process. A gateway that
        starts again may find models that were added since then.
        """
        self._is_sealed = True
        if not running:
            return set()
        left = {
            name: runner for name, runner in self._by_name.items()
            if runner.placement == "process" and name not in running
        }  # fmt: skip
        for name in left:
            del self._by_name[name]
        return {model for runner in left.values() for model in runner.models}

    def place(self, entry: ModelEntry, kind: Kind[Any], settings: Settings) -> Placed[Any]:
        """Return the runner of a model, and make it where there is none yet. Raises SettingsInvalid."""
        name = self._name_of(entry, kind)
        runner = self._by_name.get(name)
        if runner is None:
            if self._is_sealed:
                runner = self._substitute(entry, name)
            else:
                runner = self._by_name[name] = self._make(name, kind, entry)
        runner.models.add(entry.name)
        runner.placed.connections = max(runner.placed.connections, kind.calls_in_flight(settings))
        return runner.placed

    def _name_of(self, entry: ModelEntry, kind: Kind[Any]) -> str:
        """Return the name of the BentoML service for an entry, whose keys of the runner are those of all its models."""
        base = f"{_camel(entry.runner)}Runner" if entry.runner else kind.runner
        names = itertools.chain((base,), (f"{base}{number}" for number in itertools.count(2)))
        return next(name for name in names if self._is_for(name, entry))

    def _is_for(self, name: str, entry: ModelEntry) -> bool:
        """Return whether the runner `name`, or a new one of this name, can have the model of `entry`."""
        runner = self._by_name.get(name)
        return runner is None or runner.is_for(entry, at_run_time=self._is_sealed)

    def _substitute(self, entry: ModelEntry, name: str) -> RunnerProcess:
        """Return the process for a model that is added at run time and whose own process starts with the service."""
        processes = [each for each in self if each.placement == "process"]
        if entry.runner or entry.placement != "process" or not processes:
            known = ", ".join(self._by_name)
            raise SettingsInvalid(
                f"there is no runner '{name}' with the placement '{entry.placement}'; running: {known}; "
                "a new runner starts with the service"
            )
        return processes[0]

    def _make(self, name: str, kind: Kind[Any], entry: ModelEntry) -> RunnerProcess:
        # Not BentoML's workers of one service, which share a socket: a gateway could not reach each of them.
        service, *others = (
            self._service(name if number == 1 else f"{name}_{number}", name, kind, entry)
            for number in range(1, entry.replicas + 1)
        )
        placed: Placed[Any] = place(service, entry.placement, replicas=others)
        return RunnerProcess(service, placed, entry)

    def _service(self, process: str, name: str, kind: Kind[Any], entry: ModelEntry) -> Any:  # Any: a BentoML service
        """Return the service of one process of the runner `name`."""

        def hosted(may_block: bool) -> HostedModels:
            runner = self._by_name[name]
            host = ModelHost(
                self._kinds,
                self._settings,
                self._state,
                source=self._source,
                name=name,
                threads=min(runner.placed.connections, _MAX_THREADS),
                may_block=may_block,
            )
            entries = [entry for entry in self._desired() if entry.name in runner.models]
            return host.hosted({self._wire_name(entry): entry for entry in entries})

        class Runner:
            def __init__(self) -> None:
                self.hosted = hosted

        Runner.__name__ = Runner.__qualname__ = process
        Runner.__doc__ = kind.runner_description
        Runner.__module__ = self._module
        for method_name, spec in kind.methods.items():
            method = bentoml.api(batchable=True, max_batch_size=self._settings.max_batch_rows, max_latency_ms=60_000)
            setattr(Runner, method_name, method(_batch_method(method_name, spec)))
        config = service_config(self._settings, threads=_MAX_THREADS)
        service_class = RunnerService.using(self._settings, _bounds(entry, self._settings))
        return bentoml.service(service_class=service_class, **config)(Runner)


def _bounds(entry: ModelEntry, settings: Settings) -> RunnerBounds:
    """Return the bounds of the runner of an entry: its own, or else those of the settings."""
    default = RunnerBounds.of(settings)
    return RunnerBounds(
        entry.max_memory_bytes or default.max_memory_bytes,
        entry.threads or default.threads,
        entry.cpus or default.cpus,
    )


def _batch_method(name: str, spec: BatchMethodSpec) -> Callable[..., Any]:
    """Return a method of a runner's class. BentoML reads its annotations; `RunnerAppFactory` answers its calls."""

    def predict(self: Any, rows: Any) -> Any:
        raise NotImplementedError

    predict.__name__ = predict.__qualname__ = name
    taken: Any = list[dict[str, Any]]  # Any: types made from data
    returned: Any = taken
    if spec.payload == "array":
        taken, returned = NDArray[getattr(np, spec.dtype)], NDArray[np.float32]  # type: ignore[misc]
    predict.__annotations__ = {"rows": taken, "return": returned}
    return predict


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in re.split(r"[_-]", name))

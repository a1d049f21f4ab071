"""The models that the settings ask for: a BentoML service for each runner, and the served model in the gateway."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
from numpy.typing import NDArray

from models.errors import ArtifactError, SettingsInvalid
from models.store.artifact_cache import ArtifactCache
from models.store.artifacts import Artifact
from models.store.sources.source import is_source, label_of
from serving.bento.config import service_config
from serving.bento.runner import RunnerService
from serving.kinds.handlers import Handlers
from serving.kinds.interface import BatchMethodSpec, Kind, ModelOptions
from serving.kinds.served_model import ServedModel
from serving.runners.batching import BatchLimits
from serving.runners.handle import RunnerHandle
from serving.runners.host.loaded_versions import LoadedVersions
from serving.runners.placement import Placed, connect, place
from serving.settings.settings import Settings, source_options
from serving.versions.deployed_model import DeployedModel, deployed_model
from serving.versions.state import DeploymentState


@dataclass(frozen=True, slots=True)
class BentoModel:
    """One model of the service: its runner's service, and the gateway's side of it."""

    kind: Kind[Any]
    options: ModelOptions
    artifacts: ArtifactCache
    runner: Any  # Any: a BentoML service
    placed: Placed[Any]
    served: ServedModel[Any]
    deployed: DeployedModel[Artifact]
    source: Path

    def check(self, settings: Settings) -> None:
        """Raise ArtifactError or SettingsInvalid for a model that cannot be served. Fetch it first from a source."""
        if is_source(self.options.tag):
            from models.store.sources.resolve import local_tag  # the clients of sources, which few services need

            options = source_options(settings)
            local_tag(self.options.tag, name=self.artifacts.name, code=self.source, options=options)
        self.artifacts.check(*self.kind.tasks)
        self.kind.check(settings, self.options)


@dataclass(frozen=True, slots=True)
class BentoModels:
    """The models of the service, by alias."""

    by_alias: dict[str, BentoModel]

    def __iter__(self) -> Iterator[BentoModel]:
        return iter(self.by_alias.values())

    def handlers(self, settings: Settings) -> Handlers:
        """Return the handlers of all models."""
        return Handlers({alias: each.kind.handler(each.served, settings) for alias, each in self.by_alias.items()})

    def fault(self, settings: Settings) -> str:
        """Return why the models cannot be served, or an empty text."""
        try:
            for model in self:
                model.check(settings)
        except (ArtifactError, SettingsInvalid) as error:
            return str(error)
        return ""


def build_models(
    kinds: Sequence[Kind[Any]], settings: Settings, state: DeploymentState, *, source: Path, module: str
) -> BentoModels:
    """Build the model of each kind that the settings ask for. Reads and starts nothing.

    `source` is the folder of the code: a Bento's models are found next to it. `module` is where BentoML finds the
    runners' services by their names.
    """
    chosen = ((kind, kind.options(settings)) for kind in kinds)
    return BentoModels(
        {
            kind.alias: _build(kind, options, settings, state, source, module)
            for kind, options in chosen
            if options is not None
        }
    )


def _build(
    kind: Kind[Any], options: ModelOptions, settings: Settings, state: DeploymentState, source: Path, module: str
) -> BentoModel:
    artifacts = ArtifactCache(options.tag, source=source, name=kind.alias)
    runner = _runner_service(kind, options, artifacts, settings, state, module)
    placed: Placed[Any] = place(runner, options.placement)
    limits = BatchLimits(
        max_batch_rows=settings.max_batch_rows,
        max_batch_bytes=settings.max_batch_bytes,
        max_queue_rows=settings.max_queue_rows,
        calls_in_flight=options.calls_in_flight,
    )
    handle: RunnerHandle = connect(placed, limits, name=kind.alias, method=next(iter(kind.methods)))
    deployed = deployed_model(artifacts, handle, configured=label_of(options.tag), state=state)
    served: ServedModel[Any] = ServedModel(
        kind.alias,
        handle,
        _version_of(kind, artifacts, settings),
        deployed.router,
        timeout_s=settings.request_timeout_s,
    )
    return BentoModel(kind, options, artifacts, runner, placed, served, deployed, source)


def _version_of(kind: Kind[Any], artifacts: ArtifactCache, settings: Settings) -> Callable[[str], Any]:
    """Return what gives the gateway's side of a version. Artifacts never change: each is made once."""
    loaded: dict[str, Any] = {}

    def version(name: str) -> Any:
        if name not in loaded:
            artifact = artifacts.read(name or None)
            loaded[name] = loaded.get(artifact.version) or kind.version(artifact, settings)
            loaded[artifact.version] = loaded[name]
        return loaded[name]

    return version


def _runner_service(
    kind: Kind[Any],
    options: ModelOptions,
    artifacts: ArtifactCache,
    settings: Settings,
    state: DeploymentState,
    module: str,
) -> Any:  # Any: a BentoML service
    class Runner:
        def __init__(self) -> None:
            load = kind.load(settings)
            self.model: LoadedVersions[Any] = LoadedVersions(
                lambda version: load(artifacts.find_verified(version)),
                warm_up=kind.warm_up,
                start=state.start_versions(artifacts.name, configured=label_of(options.tag), find=artifacts.find),
            )

    Runner.__name__ = Runner.__qualname__ = kind.runner
    Runner.__doc__ = kind.runner_description
    Runner.__module__ = module
    for name, spec in kind.methods.items():
        method = bentoml.api(batchable=True, max_batch_size=settings.max_batch_rows, max_latency_ms=60_000)
        setattr(Runner, name, method(_batch_method(name, spec)))
    config = service_config(settings, threads=options.calls_in_flight)
    return bentoml.service(service_class=RunnerService.using(settings), **config)(Runner)


def _batch_method(name: str, spec: BatchMethodSpec) -> Callable[..., Any]:
    """Return the method of a runner that answers batches. BentoML reads its annotations."""

    def predict(self: Any, rows: Any) -> Any:
        with self.model.lease() as predictor:
            return spec.call(predictor, rows)

    predict.__name__ = predict.__qualname__ = name
    taken: Any = list[dict[str, Any]]  # Any: types made from data
    returned: Any = taken
    if spec.payload == "array":
        taken, returned = NDArray[getattr(np, spec.dtype)], NDArray[np.float32]  # type: ignore[misc]
    predict.__annotations__ = {"rows": taken, "return": returned}
    return predict

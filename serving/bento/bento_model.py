"""One model of the service: what its entry means, and the gateway's side of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from models.store.artifact_cache import ArtifactCache
from models.store.artifacts import Artifact
from serving.kinds.interface import Handler, Kind
from serving.runners.handle import RunnerHandle
from serving.runners.placement import Placed
from serving.settings.model_list import ModelEntry
from serving.settings.settings import Settings
from serving.versions.deployed_model import DeployedModel


@dataclass(frozen=True, slots=True, eq=False)
class BentoModel:
    """One model of the service: the gateway's side of it."""

    entry: ModelEntry
    # Its name in the Open Inference Protocol and the WebSocket: that of its kind without a model list.
    alias: str
    kind: Kind[Any]
    settings: Settings
    artifacts: ArtifactCache
    placed: Placed[Any]
    # Its name for the runner.
    wire_name: str
    handle: RunnerHandle
    deployed: DeployedModel[Artifact]
    handler: Handler[Any]

    @property
    def name(self) -> str:
        """The name of the model in the API."""
        return self.entry.name

    @property
    def is_lost(self) -> bool:
        """Whether the runner answers and does not have the model."""
        return self.placed.is_up and self.wire_name not in self.placed.loaded()


@dataclass(frozen=True, slots=True)
class FailedModel:
    """A model that is not served, and why."""

    entry: ModelEntry
    reason: str


def version_of(kind: Kind[Any], artifacts: ArtifactCache, settings: Settings) -> Callable[[str], Any]:
    """Return what gives the gateway's side of a version. Artifacts never change: each is made once."""
    loaded: dict[str, Any] = {}

    def version(name: str) -> Any:
        if name not in loaded:
            artifact = artifacts.read(name or None)
            loaded[name] = loaded.get(artifact.version) or kind.version(artifact, settings)
            loaded[artifact.version] = loaded[name]
        return loaded[name]

    return version

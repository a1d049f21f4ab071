"""One model of the service: its artifacts, its runner and its router."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from models.card import Card
from models.store.aliases import Aliases
from serving.runners.interface import ModelRef, RunnerStatus
from serving.versions.router import VersionRouter
from serving.versions.state import DeploymentState


class StoredArtifact(Protocol):
    """One version of a model in the store."""

    @property
    def version(self) -> str: ...

    @property
    def card(self) -> Card: ...


A = TypeVar("A", bound=StoredArtifact)
A_co = TypeVar("A_co", bound=StoredArtifact, covariant=True)


class ArtifactVersions(Protocol[A_co]):
    """The versions of one model in the store, such as `models.store.artifact_cache.ArtifactCache`.

    Without a version, the configured one. Methods may read the disk and raise ArtifactError.
    """

    name: str

    @property
    def aliases(self) -> Aliases: ...

    def find(self, version: str | None = None) -> A_co: ...

    def read(self, version: str | None = None) -> A_co: ...

    def versions(self) -> Sequence[A_co]: ...


class VersionedRunner(Protocol):
    """A runner that can change its default version and hold further ones."""

    @property
    def last_status(self) -> RunnerStatus: ...

    async def reload(self, version: str | None, *, timeout_s: float = ...) -> ModelRef: ...

    async def hold(self, versions: Sequence[str], *, timeout_s: float = ...) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class DeployedModel(Generic[A_co]):
    """One model. `configured` is its artifact tag in the settings, `name` its name in the API and in the state.

    `watch_s` is the interval at which the version that `configured` names is looked up; None: that of the reconciler.
    """

    name: str
    configured: str
    artifacts: ArtifactVersions[A_co]
    runner: VersionedRunner
    router: VersionRouter
    watch_s: float | None = None

    @property
    def active(self) -> A_co:
        """The artifact of the default version; the configured one before the runner has reported a version."""
        model = self.runner.last_status.model
        return self.artifacts.read(model.version if model else None)

    @property
    def card(self) -> Card:
        """The card of the default version."""
        return self.active.card


def deployed_model(
    artifacts: ArtifactVersions[A],
    runner: VersionedRunner,
    *,
    configured: str,
    state: DeploymentState,
    name: str = "",
    watch_s: float | None = None,
) -> DeployedModel[A]:
    """Return a model with a router of its traffic. Without a `name` it has the name of its artifact."""
    name = name or artifacts.name
    return DeployedModel(name, configured, artifacts, runner, VersionRouter(name, runner=runner, state=state), watch_s)

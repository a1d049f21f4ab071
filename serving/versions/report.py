"""Actual state of a model against its desired state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from serving.runners.interface import ModelRef
from serving.versions.deployed_model import DeployedModel, StoredArtifact
from serving.versions.state import ModelState
from serving.versions.traffic_split import TrafficSplit

Role = Literal["default", "weighted", "named", "shadow"]


@dataclass(frozen=True, slots=True)
class VersionReport:
    """One version that requests can reach. `share` is its share of the requests that name no version."""

    version: str
    roles: tuple[Role, ...]
    share: float
    is_loaded: bool


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What the state asks for, and what the runner and the router of this gateway do.

    `active` is the default version, None before the runner has reported one. `error` is why the last attempt to reach
    the desired state failed; empty when it did not.
    """

    name: str
    desired: ModelState
    pinned: str | None
    active: ModelRef | None
    split: TrafficSplit
    versions: tuple[VersionReport, ...]
    error: str = ""


def report_model(model: DeployedModel[StoredArtifact], desired: ModelState, *, error: str = "") -> ModelReport:
    """Compare a model with its desired state. Does no I/O."""
    status, router = model.runner.last_status, model.router
    default, split = router.default, router.split
    loaded = {default, *status.versions} if status.ready else set()

    def version_report(version: str) -> VersionReport:
        roles: list[Role] = ["default"] if version == default else []
        if version in split.weights:
            roles.append("weighted" if split.weights[version] else "named")
        if version == split.shadow:
            roles.append("shadow")
        share = split.weights.get(version, 0.0) if split.weights else float(version == default)
        return VersionReport(version, tuple(roles), share, version in loaded)

    return ModelReport(
        name=model.name,
        desired=desired,
        pinned=desired.pinned_version(model.configured),
        active=status.model,
        split=split,
        versions=tuple(version_report(version) for version in router.available),
        error=error,
    )

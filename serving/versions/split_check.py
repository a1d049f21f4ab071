"""Checks a traffic split against the artifacts of its model."""

from __future__ import annotations

from models.errors import ArtifactError, ArtifactMissing, NotKnown
from serving.errors.exceptions import ReloadRefused
from serving.versions.deployed_model import ArtifactVersions, StoredArtifact
from serving.versions.traffic_split import TrafficSplit


def check_split(artifacts: ArtifactVersions[StoredArtifact], split: TrafficSplit) -> TrafficSplit:
    """Return the split with the version that an alias names in place of the alias.

    Raise NotKnown for a version that is not in the store, and ReloadRefused where no request fits all versions.
    Only versions with a share are compared: a request cannot know in advance which of them it reaches.
    """
    columns: dict[str, set[tuple[str, str]]] = {}
    exact: dict[str, str] = {}
    for version in split.versions:
        location: tuple[str, ...] = ("body", "weights", version) if version in split.weights else ("body", "shadow")
        try:
            artifact = artifacts.find(version)
        except ArtifactMissing as error:
            raise NotKnown(str(error), location=location) from error
        except ArtifactError as error:
            raise ReloadRefused(f"{error}; the traffic split is unchanged") from error
        exact[version] = artifact.version
        if split.weights.get(version):
            columns[version] = {(column.name, column.kind) for column in artifact.card.inputs}
    first, *others = columns.items() or (("", set()),)
    for version, inputs in others:
        if inputs != first[1]:
            differ = ", ".join(sorted({name for name, _ in inputs ^ first[1]})[:10])
            raise ReloadRefused(
                f"versions '{first[0]}' and '{version}' differ in their inputs ({differ}), so no request fits both"
            )
    weights: dict[str, float] = {}
    for version, weight in split.weights.items():
        weights[exact[version]] = weights.get(exact[version], 0.0) + weight
    return TrafficSplit(weights, exact[split.shadow] if split.shadow else None)

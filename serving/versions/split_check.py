"""Checks a traffic split against the artifacts of its model."""

from __future__ import annotations

from models.errors import ArtifactError, ArtifactMissing, NotKnown
from serving.errors.exceptions import ReloadRefused
from serving.versions.deployed_model import ArtifactVersions, StoredArtifact
from serving.versions.traffic_split import TrafficSplit


def check_split(artifacts: ArtifactVersions[StoredArtifact], split: TrafficSplit) -> None:
    """Raise NotKnown for a version that is not in the store, and ReloadRefused where no request fits all versions.

    Only versions with a share are compared: a request cannot know in advance which of them it reaches.
    """
    columns: dict[str, set[tuple[str, str]]] = {}
    for version in split.versions:
        location: tuple[str, ...] = ("body", "weights", version) if version in split.weights else ("body", "shadow")
        try:
            card = artifacts.find(version).card
        except ArtifactMissing as error:
            raise NotKnown(str(error), location=location) from error
        except ArtifactError as error:
            raise ReloadRefused(f"{error}; the traffic split is unchanged") from error
        if split.weights.get(version):
            columns[version] = {(column.name, column.kind) for column in card.inputs}
    first, *others = columns.items() or (("", set()),)
    for version, inputs in others:
        if inputs != first[1]:
            differ = ", ".join(sorted({name for name, _ in inputs ^ first[1]})[:10])
            raise ReloadRefused(
                f"versions '{first[0]}' and '{version}' differ in their inputs ({differ}), so no request fits both"
            )

"""Catalog of the models: every version in the store, and which one is the default."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from models.card import Card
from models.errors import ArtifactError, NotKnown, StoreUnavailable
from serving.versions.deployed_model import DeployedModel, StoredArtifact


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One version of one model. `served`: it is the default version."""

    card: Card
    version: str
    served: bool

    @property
    def name(self) -> str:
        """Name of the model in the store."""
        return self.card.name


@dataclass(frozen=True, slots=True)
class CatalogAlias:
    """An alias of a version of a model. `fault` is why that version cannot be used."""

    name: str
    alias: str
    version: str
    fault: str = ""


class ModelCatalog(Protocol):
    """Lists the models of the store."""

    def aliases(self) -> Sequence[CatalogAlias]:
        """Return the aliases of every model. May read the disk: call it in a thread."""
        ...

    def entries(self) -> Sequence[CatalogEntry]:
        """Return every readable version of every model. May read the disk: call it in a thread.

        Raises StoreUnavailable.
        """
        ...


class StoreCatalog:
    """Catalog of the deployed models' versions in the store. `models` returns those that are served now."""

    def __init__(self, models: Callable[[], Sequence[DeployedModel[StoredArtifact]]]) -> None:
        self._models = models

    def aliases(self) -> list[CatalogAlias]:
        """Return the aliases of every model, without those of a model whose aliases cannot be read."""
        listed = []
        for model in self._models():
            # The versions are listed all the same. `list_aliases` reports the fault.
            with contextlib.suppress(ArtifactError):
                listed += [
                    CatalogAlias(model.name, each.alias, each.version, each.fault)
                    for each in model.artifacts.aliases.report()
                ]
        return listed

    def entries(self) -> list[CatalogEntry]:
        """Return every usable version of every model. Raises StoreUnavailable: each model was there at the start."""
        try:
            return [
                CatalogEntry(artifact.card, artifact.version, served=artifact.version == active)
                for model in self._models()
                for active in (model.active.version,)
                for artifact in model.artifacts.versions()
            ]
        except ArtifactError as error:
            raise StoreUnavailable(str(error)) from error


def list_entries(catalog: ModelCatalog) -> list[CatalogEntry]:
    """Return all versions: by name, newest first within a name."""
    newest_first = sorted(catalog.entries(), key=lambda entry: entry.card.created, reverse=True)
    return sorted(newest_first, key=lambda entry: entry.name)


def versions_of(catalog: ModelCatalog, name: str) -> list[CatalogEntry]:
    """Return the versions of the model `name`, newest first. Raises NotKnown with the known names."""
    entries = list_entries(catalog)
    versions = [entry for entry in entries if entry.name == name]
    if not versions:
        known = ", ".join(sorted({entry.name for entry in entries})) or "none"
        raise NotKnown(f"no model '{name[:100]}'; known: {known}", location=("path", "name"))
    return versions


def default_entry(versions: Sequence[CatalogEntry]) -> CatalogEntry:
    """Return the default version, or the newest when there is no default one."""
    return next((entry for entry in versions if entry.served), versions[0])

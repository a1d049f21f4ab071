"""Which models there are. A protocol: the store behind it is not serving's to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from models.card import Card
from models.errors import NotKnown
from serving.runners.handle import RunnerHandle
from serving.versions.controller import Shared, TrafficController
from serving.versions.reloader import Reloader, Serves
from serving.versions.router import VersionRouter
from serving.versions.state import DeploymentState


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One version of one model, and whether it is the one that answers."""

    card: Card
    version: str
    served: bool

    @property
    def name(self) -> str:
        """Name of the model in the store."""
        return self.card.name


class ModelCatalog(Protocol):
    """Lists the models of the store."""

    def entries(self) -> Sequence[CatalogEntry]:
        """Every readable version of every model. May read the disk: call it in a thread."""
        ...


def listed(catalog: ModelCatalog) -> list[CatalogEntry]:
    """All versions: by name, newest first within a name."""
    newest_first = sorted(catalog.entries(), key=lambda entry: entry.card.created, reverse=True)
    return sorted(newest_first, key=lambda entry: entry.name)


def versions_of(catalog: ModelCatalog, name: str) -> list[CatalogEntry]:
    """The versions of the model `name`, newest first. Raises NotKnown with the names that are known."""
    entries = listed(catalog)
    found = [entry for entry in entries if entry.name == name]
    if not found:
        known = ", ".join(sorted({entry.name for entry in entries})) or "none"
        raise NotKnown(f"no model '{name[:100]}'; known: {known}", location=("path", "name"))
    return found


def current(versions: Sequence[CatalogEntry]) -> CatalogEntry:
    """The version that answers, or the newest when none does."""
    return next((entry for entry in versions if entry.served), versions[0])


class Stored(Protocol):
    """One version in the store."""

    @property
    def version(self) -> str: ...

    @property
    def card(self) -> Card: ...


A = TypeVar("A", bound=Stored)
A_co = TypeVar("A_co", bound=Stored, covariant=True)


class Stock(Protocol[A_co]):
    """The versions of one model: `models.store.artifact_cache.Shelf`."""

    name: str

    def find(self, version: str | None = None) -> A_co: ...

    def read(self, version: str | None = None) -> A_co: ...

    def versions(self) -> Sequence[A_co]: ...


@dataclass(frozen=True, slots=True)
class ServedModel(Generic[A_co]):
    """One model: its shelf, the runner that is asked, and the tag of the settings."""

    shelf: Stock[A_co]
    asked: RunnerHandle
    tag: str
    traffic: VersionRouter

    @property
    def answering(self) -> A_co:
        """The artifact that answers by default; before the runner has said which, the configured one."""
        model = self.asked.last_status.model
        return self.shelf.read(model.version if model else None)

    @property
    def card(self) -> Card:
        """The card of the artifact that answers by default."""
        return self.answering.card

    def card_of(self, version: str) -> Card:
        """The card of a version."""
        return self.shelf.read(version).card


def served_model(shelf: Stock[A], asked: RunnerHandle, tag: str, kept: DeploymentState) -> ServedModel[A]:
    """One model, with its traffic."""
    return ServedModel(shelf, asked, tag, VersionRouter(shelf.name, runner=asked, plans=kept.plans))


class StoreCatalog:
    """The versions of the served models in the store."""

    def __init__(self, *models: ServedModel[Stored]) -> None:
        self._models = models

    def entries(self) -> list[CatalogEntry]:
        """Every usable version of every model."""
        return [
            CatalogEntry(card=found.card, version=found.version, served=found.version == model.answering.version)
            for model in self._models
            for found in model.shelf.versions()
        ]


def build_reloads(models: Sequence[ServedModel[Stored]], kept: DeploymentState, *, watch_s: float) -> Reloader:
    """What changes the version that answers by default."""
    serves = {
        each.shelf.name: Serves(each.asked, each.tag, lambda version, each=each: each.shelf.find(version).version)  # type: ignore[misc]
        for each in models
    }
    return Reloader(serves, kept.pins, watch_s=watch_s)


def build_traffic(
    models: Sequence[ServedModel[Stored]], kept: DeploymentState, *, max_versions: int
) -> TrafficController:
    """What changes how the requests are shared out."""
    shared = {
        each.shelf.name: Shared(each.traffic, each.asked, lambda version, each=each: each.shelf.find(version).card)  # type: ignore[misc]
        for each in models
    }
    return TrafficController(shared, kept.plans, max_versions=max_versions)

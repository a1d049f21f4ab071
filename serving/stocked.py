"""The served models together: what the store holds of each, the runner that answers, and what can be changed of them.

Knows shelves by what they can do, no store and no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from models.card import Card
from serving.catalog import CatalogEntry
from serving.connected import Connected
from serving.kept import Kept
from serving.reloads import Reloads, Serves
from serving.traffic import ModelTraffic
from serving.traffic_control import Shared, TrafficControl


class Stored(Protocol):
    """One version in the store."""

    @property
    def version(self) -> str: ...

    @property
    def card(self) -> Card: ...


A = TypeVar("A", bound=Stored)
A_co = TypeVar("A_co", bound=Stored, covariant=True)


class Stock(Protocol[A_co]):
    """The versions of one model: `models.shelf.Shelf`."""

    name: str

    def find(self, version: str | None = None) -> A_co: ...

    def read(self, version: str | None = None) -> A_co: ...

    def versions(self) -> Sequence[A_co]: ...


@dataclass(frozen=True, slots=True)
class Stocked(Generic[A_co]):
    """One model: its shelf, the runner that is asked, and the tag of the settings."""

    shelf: Stock[A_co]
    asked: Connected
    tag: str
    traffic: ModelTraffic

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


def stocked(shelf: Stock[A], asked: Connected, tag: str, kept: Kept) -> Stocked[A]:
    """One model, with its traffic."""
    return Stocked(shelf, asked, tag, ModelTraffic(shelf.name, runner=asked, plans=kept.plans))


class StoreCatalog:
    """The versions of the served models in the store."""

    def __init__(self, *models: Stocked[Stored]) -> None:
        self._models = models

    def entries(self) -> list[CatalogEntry]:
        """Every usable version of every model."""
        return [
            CatalogEntry(card=found.card, version=found.version, served=found.version == model.answering.version)
            for model in self._models
            for found in model.shelf.versions()
        ]


def build_reloads(models: Sequence[Stocked[Stored]], kept: Kept, *, watch_s: float) -> Reloads:
    """What changes the version that answers by default."""
    serves = {
        each.shelf.name: Serves(each.asked, each.tag, lambda version, each=each: each.shelf.find(version).version)  # type: ignore[misc]
        for each in models
    }
    return Reloads(serves, kept.pins, watch_s=watch_s)


def build_traffic(models: Sequence[Stocked[Stored]], kept: Kept, *, max_versions: int) -> TrafficControl:
    """What changes how the requests are shared out."""
    shared = {
        each.shelf.name: Shared(each.traffic, each.asked, lambda version, each=each: each.shelf.find(version).card)  # type: ignore[misc]
        for each in models
    }
    return TrafficControl(shared, kept.plans, max_versions=max_versions)

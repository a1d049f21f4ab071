"""Which models there are. A protocol: the store behind it is not serving's to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from models.card import Card
from models.errors import NotKnown


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

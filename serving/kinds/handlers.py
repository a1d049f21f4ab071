"""The handlers of all served models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from models.card import Card
from serving.jobs.kind import JobKind
from serving.kinds.interface import Handler
from serving.runners.interface import ModelRunner


@dataclass(frozen=True, slots=True)
class Handlers:
    """The handler of each served model, by the model's alias, in the order of the OpenAPI document."""

    by_alias: Mapping[str, Handler[Any]]

    def __iter__(self) -> Iterator[Handler[Any]]:
        return iter(self.by_alias.values())

    @property
    def runners(self) -> tuple[ModelRunner, ...]:
        """The runners of all models."""
        return tuple(handler.model.runner for handler in self)

    @property
    def tags(self) -> list[tuple[str, str]]:
        """The tags of the operations, with their descriptions."""
        return [tag for handler in self for tag in handler.tags]

    def cards(self) -> tuple[Card, ...]:
        """Return the cards of the versions that answer by default."""
        return tuple(handler.model.card for handler in self)

    def versions(self) -> dict[str, str]:
        """Return the versions that answer by default, by the names and the aliases of the models that have reported."""
        versions: dict[str, str] = {}
        for alias, handler in self.by_alias.items():
            default = handler.model.default
            if default is not None:
                versions |= {default.name: default.version, alias: default.version}
        return versions

    def job_kinds(self) -> list[JobKind]:
        """Return the kinds of jobs that the handlers process."""
        kinds = (handler.job_kind() for handler in self)
        return [kind for kind in kinds if kind is not None]

    def open(self) -> None:
        """Acquire what the handlers need. Called inside the event loop of the application."""
        for handler in self:
            handler.open()

    def close(self) -> None:
        """Release what the handlers hold."""
        for handler in self:
            handler.close()

"""The handlers of all served models."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from models.card import Card
from serving.jobs.kind import JobKind
from serving.kinds.interface import Handler
from serving.runners.interface import ModelRunner
from serving.settings.model_list import identifier


class Handlers:
    """The handler of each served model, by the model's alias, in the order of the OpenAPI document.

    The alias is the model's name, or without a model list that of its kind. The models may change while the service
    runs.
    """

    def __init__(self, by_alias: Mapping[str, Handler[Any]]) -> None:
        self.by_alias = dict(by_alias)
        self._link()
        self._callbacks: list[Callable[[], object]] = []
        self._is_open = False

    def __iter__(self) -> Iterator[Handler[Any]]:
        return iter(self.by_alias.values())

    def replace(self, by_alias: Mapping[str, Handler[Any]]) -> None:
        """Serve these models from now on. Requests in flight are answered by the handlers that they have."""
        old, self.by_alias = self.by_alias, dict(by_alias)
        self._link()
        if self._is_open:
            for handler in by_alias.values():
                if handler not in old.values():
                    handler.open()
            for handler in old.values():
                if handler not in by_alias.values():
                    handler.close()
        for callback in self._callbacks:
            callback()

    def on_change(self, callback: Callable[[], object]) -> None:
        """Call `callback` after each change of the models."""
        self._callbacks.append(callback)

    @property
    def runners(self) -> tuple[ModelRunner, ...]:
        """The runners of all models."""
        return tuple(handler.model.runner for handler in self)

    @property
    def firsts(self) -> list[Handler[Any]]:
        """The first model of each kind, which answers the operations of the kind."""
        firsts: dict[type[Handler[Any]], Handler[Any]] = {}
        for handler in self:
            firsts.setdefault(type(handler), handler)
        return list(firsts.values())

    @property
    def tags(self) -> list[tuple[str, str]]:
        """The tags of the operations, with their descriptions."""
        return [tag for handler in self.firsts for tag in handler.tags]

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

    def native_methods(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        """Return the methods for BentoML's clients: those of the kinds, and `predict_{name}` for each model."""
        methods = {name: method for handler in self.firsts for name, method in handler.native_methods.items()}
        for alias, handler in self.by_alias.items():
            if handler.native_methods:
                main = next(iter(handler.native_methods.values()))
                methods.setdefault(f"predict_{identifier(alias)}", main)
        return methods

    def job_kinds(self) -> list[JobKind]:
        """Return the kinds of jobs that the handlers process: those of the kinds, and one for each model."""
        kinds = [kind for handler in self.firsts if (kind := handler.job_kind()) is not None]
        named = (handler.model_job_kind() for handler in self)
        return [*kinds, *(kind for kind in named if kind is not None)]

    def _link(self) -> None:
        """Give each handler those of its kind."""
        for handler in self:
            handler.peers = functools.partial(self._peers, type(handler))

    def _peers(self, kind: type[Handler[Any]]) -> dict[str, Handler[Any]]:
        return {alias: each for alias, each in self.by_alias.items() if type(each) is kind}

    def open(self) -> None:
        """Acquire what the handlers need. Called inside the event loop of the application."""
        self._is_open = True
        for handler in self:
            handler.open()

    def close(self) -> None:
        """Release what the handlers hold."""
        self._is_open = False
        for handler in self:
            handler.close()

"""Routes of the operations that many models have: one route for each path template, whatever the number of models."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from models.errors import NotKnown
from serving.access.guard import Guard
from serving.access.roles import Access
from serving.http.encoded_path import EncodedPathRoute
from serving.http.operation import Handler, Operation
from serving.http.problem_details import problem_of
from serving.http.response_cache import ResponseCache

# Returns what is wrong with a name that no model with an operation has.
Missing = Callable[[str], Exception]
_MAX_NAMES: Final = 50


def routes_of(
    operations: Iterable[Operation],
    guard: Guard,
    cache: ResponseCache | None,
    *,
    missing: Missing | None = None,
) -> list[BaseRoute]:
    """Return the routes of operations, in their order; those of models by their template.

    An operation whose path is such a template answers for the names that no model has. Without one, `missing` returns
    the error.
    """
    routes: list[BaseRoute] = []
    shared: dict[tuple[str, str], _ModelEndpoints] = {}
    operations = list(operations)
    served = frozenset(operation.model for operation in operations if operation.model)
    for operation in operations:
        key = operation.method, operation.template
        if operation.is_at_model and key not in shared:
            shared[key] = _ModelEndpoints(guard, operation.access, missing)
            routes.append(_ModelRoute(key, shared[key], served))
        if operation.is_at_model:
            shared[key].by_model[operation.model] = operation.endpoint(guard, cache)
        elif key in shared:
            shared[key].others = operation.endpoint(guard, cache)
        else:
            routes.append(operation.route(guard, cache))
    return routes


class _ModelRoute(EncodedPathRoute):
    """The route of one operation of many models. A served model without this operation does not have its path."""

    def __init__(self, key: tuple[str, str], endpoints: _ModelEndpoints, served: frozenset[str]) -> None:
        method, template = key
        super().__init__(template, endpoints.answer, methods=[method], name=f"{method} {template}")
        self._endpoints = endpoints
        self._served = served

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child_scope = super().matches(scope)
        if match is not Match.NONE and not self._endpoints.are_for(
            str(child_scope["path_params"]["name"]), self._served
        ):
            return Match.NONE, {}
        return match, child_scope


class _ModelEndpoints:
    """The endpoints of one operation by model, and the one for all other names."""

    def __init__(self, guard: Guard, access: Access, missing: Missing | None) -> None:
        self.by_model: dict[str, Handler] = {}
        self.others: Handler | None = None
        self._guard = guard
        self._access = access
        self._missing = missing or self._not_known

    def are_for(self, name: str, served: frozenset[str]) -> bool:
        """Return whether a path with `name` is one of this operation: of its models, or of no model at all."""
        return name in self.by_model or self.others is not None or name not in served

    async def answer(self, request: Request) -> Response:
        """Answer by the model that the path names."""
        name = str(request.path_params["name"])
        endpoint = self.by_model.get(name, self.others)
        if endpoint is not None:
            return await endpoint(request)
        try:
            # Who may not predict does not learn which models there are.
            await self._guard.admit(request.scope, self._access)
            raise self._missing(name)
        except Exception as error:
            return problem_of(error, instance=request.scope["path"])

    def _not_known(self, name: str) -> Exception:
        known = ", ".join(sorted(self.by_model)[:_MAX_NAMES])
        return NotKnown(f"no model '{name[:100]}'; known: {known}", location=("path", "name"))

"""Routes of the operations that many models have: one route for each path template, whatever the number of models."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

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
    for operation in operations:
        key = operation.method, operation.template
        is_of_model = operation.template != operation.path
        if is_of_model and key not in shared:
            shared[key] = _ModelEndpoints(guard, operation.access, missing)
            routes.append(EncodedPathRoute(key[1], shared[key].answer, methods=[key[0]], name=f"{key[0]} {key[1]}"))
        if is_of_model:
            shared[key].by_model[operation.model] = operation.endpoint(guard, cache)
        elif key in shared:
            shared[key].others = operation.endpoint(guard, cache)
        else:
            routes.append(operation.route(guard, cache))
    return routes


class _ModelEndpoints:
    """The endpoints of one operation by model, and the one for all other names."""

    def __init__(self, guard: Guard, access: Access, missing: Missing | None) -> None:
        self.by_model: dict[str, Handler] = {}
        self.others: Handler | None = None
        self._guard = guard
        self._access = access
        self._missing = missing or self._not_known

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

"""What BentoML's clients read at `/schema.json` before the first call: the methods of the models that are served."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import bentoml
import orjson
from _bentoml_sdk.method import APIMethod  # type: ignore[import-untyped]
from _bentoml_sdk.service import Service  # type: ignore[import-untyped]
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.concurrency import SharedResult
from serving.http.representation import Representation
from serving.http.requests.json_body import NO_CACHE, PRIVATE_NO_CACHE
from serving.kinds.handlers import Handlers

PATH = "/schema.json"

Methods = Mapping[str, Callable[..., Awaitable[Any]]]


class ClientSchema:
    """The schema of a service. It is built in a thread, at the first request and at the first one after `replace`."""

    def __init__(self, service: Service[Any], *, is_private: bool) -> None:
        self._service = service
        self._headers = {"Cache-Control": PRIVATE_NO_CACHE if is_private else NO_CACHE}
        self._kept = SharedResult(self._build)

    def replace(self, methods: Methods) -> None:
        """Describe these methods from now on. At first they are those of the service's class."""
        self._kept = SharedResult(lambda: self._build(methods))

    def follow(self, handlers: Handlers) -> None:
        """Describe the methods of the models after each change of them."""
        handlers.on_change(lambda: self.replace(handlers.native_methods()))

    def route(self) -> Route:
        """Return the route of the schema."""

        async def schema(request: Request) -> Response:
            return (await self._kept.get()).response(request, self._headers)

        return Route(PATH, schema, name="schema")

    def _build(self, methods: Methods | None = None) -> Representation:
        if methods is not None:
            self._service.apis = api_methods(methods)
        return Representation.of(orjson.dumps(self._service.schema()), "application/json")


def api_methods(methods: Methods) -> dict[str, APIMethod[..., Any]]:
    """Return the methods of a service's class, as BentoML needs them."""
    return {name: bentoml.api(_as_method(name, method)) for name, method in methods.items()}


def _as_method(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` as the method `name`: BentoML reads its signature, and its types where it was defined."""

    @functools.wraps(function)
    async def method(self: object, *args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    signature = inspect.signature(function, eval_str=True)
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [this, *signature.parameters.values()]
    method.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    method.__name__ = name
    method.__annotations__ = inspect.get_annotations(function, eval_str=True)
    return method

"""The schema for BentoML's clients: it follows the models, and is built once for each set of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import bentoml
import pytest
from _bentoml_sdk.service import Service  # type: ignore[import-untyped]
from starlette.applications import Starlette
from starlette.testclient import TestClient

from serving.bento.client_schema import PATH, ClientSchema


async def predict_wine(instances: list[dict[str, Any]]) -> dict[str, Any]:
    return {"predictions": instances}


async def predict_shop(texts: list[str]) -> dict[str, Any]:
    return {"predictions": texts}


@bentoml.service
class Empty:
    pass


def routes(response: Any) -> dict[str, str]:
    """Return the input's first property by the name of the method."""
    return {each["name"]: next(iter(each["input"]["properties"])) for each in response.json()["routes"]}


def test_it_follows_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    methods: dict[str, Callable[..., Awaitable[Any]]] = {"predict_wine": predict_wine}
    built: list[object] = []
    original = Service.schema

    def counted(service: Any) -> Any:
        built.append(service)
        return original(service)

    monkeypatch.setattr(Service, "schema", counted)
    schema = ClientSchema(Empty, is_private=True)
    schema.replace(methods)
    with TestClient(Starlette(routes=[schema.route()])) as client:
        first = client.get(PATH)
        assert routes(first) == {"predict_wine": "instances"}
        assert first.headers["Cache-Control"].startswith("private")
        assert client.get(PATH, headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
        assert len(built) == 1

        methods = {"predict_wine": predict_wine, "predict_shop": predict_shop}
        schema.replace(methods)
        assert routes(client.get(PATH)) == {"predict_wine": "instances", "predict_shop": "texts"}
        assert len(built) == 2


def test_without_models_it_has_the_methods_of_the_class() -> None:
    @bentoml.service
    class One:
        @bentoml.api  # type: ignore[untyped-decorator]
        async def add(self, numbers: list[float]) -> float:
            return sum(numbers)

    schema = ClientSchema(One, is_private=False)
    with TestClient(Starlette(routes=[schema.route()])) as client:
        assert routes(client.get(PATH)) == {"add": "numbers"}

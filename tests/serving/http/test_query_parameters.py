"""Query parameters that an operation does not have."""

from __future__ import annotations

import re
from typing import Any

import pytest

from serving.access.api_keys import hash_of
from tests.serving.in_process_service import LocalService


def operations(local_service: LocalService) -> list[tuple[str, str, dict[str, Any]]]:
    paths = local_service.get("/openapi.json").json()["paths"]
    return [(method, path, each) for path, methods in paths.items() for method, each in methods.items()]


def test_every_operation_refuses_an_unknown_query_parameter() -> None:
    local_service = LocalService(api_keys=f"all:admin:{hash_of('mk_all')}")
    called = operations(local_service)
    key = {"X-API-Key": "mk_all"}
    for method, path, described in called:
        url = re.sub(r"{\w+}", "x", path)
        response = local_service.ask(method.upper(), url, params={"no_such": "1"}, headers=key)

        assert response.status_code == 422, (method, path, response.text)
        assert response.json()["errors"][0]["location"] == ["query", "no_such"]
        assert "422" in described["responses"], path
    assert len(called) > 50


def test_the_message_names_the_parameters_that_there_are(local_service: LocalService) -> None:
    assert local_service.get("/v1/models/tabular?version=v0").json()["detail"] == (
        "version: Unknown query parameter; there are none here"
    )
    assert local_service.get("/v1/items?qury=x").json()["detail"] == (
        "qury: Unknown query parameter; known: query, category, year_from, year_to, page_size, page_token"
    )


@pytest.mark.parametrize("query", ["", "?", "?n=3"])
def test_known_parameters_are_read(local_service: LocalService, query: str) -> None:
    assert local_service.get(f"/v1/items/top{query}").status_code == 200

"""The list of models, and one model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.serving.in_process_service import TABLE_CARD, LocalService


def test_list_models_has_every_version_and_marks_the_default(local_service: LocalService) -> None:
    models = local_service.get("/v1/models").json()["models"]

    assert [(model["name"], model["version"], model["served"]) for model in models] == [
        ("image", "v1", True),
        ("recommender", "v1", True),
        ("tabular", "v1", True),
        ("tabular", "v0", False),
    ]
    assert models[2]["task"] == "tabular-classification"
    assert models[2]["metrics"] == {"accuracy": 0.9, "log_loss": 0.31}
    assert models[2]["created"] == "2026-01-02T03:04:05Z"


def test_get_model_returns_the_card(local_service: LocalService) -> None:
    model = local_service.get("/v1/models/tabular").json()

    assert model["version"] == "v1"
    assert [version["version"] for version in model["versions"]] == ["v1", "v0"]
    assert [column["name"] for column in model["inputs"]] == [column.name for column in TABLE_CARD.inputs]
    assert model["classes"] == ["good", "bad"]
    assert model["slices"] == TABLE_CARD.slices
    assert model["data"]["rows"] == 100


def test_an_unknown_model_names_the_known_ones(local_service: LocalService) -> None:
    response = local_service.get("/v1/models/tabulr")

    assert response.status_code == 404
    assert response.json()["detail"] == "no model 'tabulr'; known: image, recommender, tabular"
    assert response.json()["errors"][0]["location"] == ["path", "name"]


def test_a_client_with_the_etag_gets_304(local_service: LocalService) -> None:
    for path in ("/v1/models", "/v1/models/tabular", "/openapi.json", "/docs.json", "/problems"):
        first = local_service.get(path)
        etag = first.headers["etag"]

        same = local_service.get(path, headers={"If-None-Match": f'"other", {etag}'})
        strong = local_service.get(path, headers={"If-None-Match": etag.removeprefix("W/")})
        other = local_service.get(path, headers={"If-None-Match": '"other"'})

        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
        assert strong.status_code == 304
        assert (other.status_code, other.content) == (200, first.content)
        assert local_service.get(path, headers={"If-None-Match": "*"}).status_code == 304


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/tabular"])
def test_a_change_changes_the_etag(local_service: LocalService, path: str) -> None:
    before = local_service.get(path).headers["etag"]
    local_service.serve_table(replace(TABLE_CARD, metrics={"accuracy": 0.5}), outputs=2)

    assert local_service.get(path).headers["etag"] != before

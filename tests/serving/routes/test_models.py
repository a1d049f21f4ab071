"""What is told about the models."""

from __future__ import annotations

from tests.serving.kitchen import TABLE_CARD, Kitchen


def test_list_models_tells_every_version_and_which_is_served(kitchen: Kitchen) -> None:
    models = kitchen.get("/v1/models").json()["models"]

    assert [(model["name"], model["version"], model["served"]) for model in models] == [
        ("image", "v1", True),
        ("recommender", "v1", True),
        ("tabular", "v1", True),
        ("tabular", "v0", False),
    ]
    assert models[2]["task"] == "tabular-classification"
    assert models[2]["metrics"] == {"accuracy": 0.9, "log_loss": 0.31}
    assert models[2]["created"] == "2026-01-02T03:04:05Z"


def test_get_model_tells_the_card(kitchen: Kitchen) -> None:
    model = kitchen.get("/v1/models/tabular").json()

    assert model["version"] == "v1"
    assert [version["version"] for version in model["versions"]] == ["v1", "v0"]
    assert [column["name"] for column in model["inputs"]] == [column.name for column in TABLE_CARD.inputs]
    assert model["classes"] == ["good", "bad"]
    assert model["slices"] == TABLE_CARD.slices
    assert model["data"]["rows"] == 100


def test_an_unknown_model_names_the_known_ones(kitchen: Kitchen) -> None:
    response = kitchen.get("/v1/models/tabulr")

    assert response.status_code == 404
    assert response.json()["detail"] == "no model 'tabulr'; known: image, recommender, tabular"
    assert response.json()["errors"][0]["location"] == ["path", "name"]


def test_what_the_client_has_is_not_sent_again(kitchen: Kitchen) -> None:
    for path in ("/v1/models", "/v1/models/tabular", "/openapi.json", "/docs.json", "/problems"):
        first = kitchen.get(path)
        etag = first.headers["etag"]

        same = kitchen.get(path, headers={"If-None-Match": f'"other", {etag}'})
        strong = kitchen.get(path, headers={"If-None-Match": etag.removeprefix("W/")})
        other = kitchen.get(path, headers={"If-None-Match": '"other"'})

        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
        assert strong.status_code == 304
        assert (other.status_code, other.content) == (200, first.content)
        assert kitchen.get(path, headers={"If-None-Match": "*"}).status_code == 304


def test_a_change_changes_the_etag(kitchen: Kitchen) -> None:
    before = kitchen.get("/v1/models/tabular").headers["etag"]
    kitchen.serve_table(kitchen.recommender_card, outputs=1)

    assert kitchen.get("/v1/models").headers["etag"] != before

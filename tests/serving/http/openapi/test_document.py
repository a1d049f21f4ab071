"""The OpenAPI document: validity, completeness, and its examples."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import orjson
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from models.card import Column
from tests.serving.access.credentials import API_KEYS, headers
from tests.serving.in_process_service import ROW, TABLE_CARD, LocalService, card

# The models that are served without any setting.
SERVED = ("image", "tabular", "recommender")
PUBLIC = {
    "classify_image": "POST /v1/images/classify",
    "classify_image_json": "POST /v1/images/classify-json",
    "classify_image_file": "POST /v1/images/classify-file",
    "classify_image_json_v2": "POST /v2/images/classify-json",
    "classify_image_file_v2": "POST /v2/images/classify-file",
    "classify_image_v2": "POST /v2/images/classify",
    "classify_image_by_header": "POST /images/classify",
    "classify_images": "POST /v1/images/classify-batch",
    "stream_images": "POST /v1/images/classify-stream",
    "stream_recommendations": "POST /v1/recommendations/stream",
    "get_recommendation_stream": "GET /v1/recommendations/stream",
    "predict_tabular": "POST /v1/tabular/predict",
    "recommend": "POST /v1/recommendations",
    "recommend_bulk": "POST /v1/recommendations/bulk",
    "get_users_recommendations": "GET /v1/users/recommendations",
    "get_user_recommendations": "GET /v1/users/{user_id}/recommendations",
    "get_similar_users": "GET /v1/users/{user_id}/similar",
    "get_user_groups": "GET /v1/users/{user_id}/groups",
    "get_user": "GET /v1/users/{user_id}",
    "list_items": "GET /v1/items",
    "top_items": "GET /v1/items/top",
    "get_similar_items": "GET /v1/items/{item_id}/similar",
    "get_item": "GET /v1/items/{item_id}",
    "send_feedback": "POST /v1/feedback",
    "submit_image_job": "POST /v1/images/jobs",
    "submit_tabular_job": "POST /v1/tabular/jobs",
    "submit_recommendation_job": "POST /v1/recommendations/jobs",
    "list_jobs": "GET /v1/jobs",
    "get_job": "GET /v1/jobs/{job_id}",
    "get_job_result": "GET /v1/jobs/{job_id}/result",
    "cancel_job": "POST /v1/jobs/{job_id}/cancel",
    "delete_job": "DELETE /v1/jobs/{job_id}",
    "list_models": "GET /v1/models",
    "get_model": "GET /v1/models/{name}",
    "get_model_metrics": "GET /v1/models/{name}/metrics",
    "get_model_params": "GET /v1/models/{name}/params",
    "get_model_param": "GET /v1/models/{name}/params/{param}",
    "list_model_versions": "GET /v1/models/{name}/versions",
    "get_model_schema": "GET /v1/models/{name}/schema",
    "reload_model": "POST /v1/models/{name}/reload",
    "get_traffic": "GET /v1/models/{name}/traffic",
    "set_traffic": "PUT /v1/models/{name}/traffic",
    "reset_traffic": "DELETE /v1/models/{name}/traffic",
    "list_aliases": "GET /v1/models/{name}/aliases",
    "set_alias": "PUT /v1/models/{name}/aliases/{alias}",
    "delete_alias": "DELETE /v1/models/{name}/aliases/{alias}",
    "livez": "GET /livez",
    "readyz": "GET /readyz",
    "health": "GET /health",
    "metrics": "GET /metrics",
    "list_problems": "GET /problems",
    "get_problem": "GET /problems/{slug}",
    "index": "GET /v1",
    "inference_server": "GET /v2",
    "inference_live": "GET /v2/health/live",
    "inference_ready": "GET /v2/health/ready",
    "inference_model": "GET /v2/models/{name}",
    "inference_model_version": "GET /v2/models/{name}/versions/{version}",
    "inference_model_ready": "GET /v2/models/{name}/ready",
    "inference_model_ready_version": "GET /v2/models/{name}/versions/{version}/ready",
    **{f"infer_{name}": f"POST /v2/models/{name}/infer" for name in SERVED},
    **{f"infer_{name}_version": f"POST /v2/models/{name}/versions/{{version}}/infer" for name in SERVED},
}
# What each model has at its own path. The id of an operation without a model comes first.
RESOURCES = (
    "recommend_bulk", "get_users_recommendations", "get_user_recommendations", "get_similar_users", "get_user_groups",
    "get_user", "list_items", "top_items", "get_similar_items", "get_item", "send_feedback",
)  # fmt: skip
PUBLIC |= {
    "predict_image": "POST /v1/models/image/predict",
    "predict_model_tabular": "POST /v1/models/tabular/predict",
    "predict_recommender": "POST /v1/models/recommender/predict",
    "stream_image": "POST /v1/models/image/stream",
    "stream_recommender": "POST /v1/models/recommender/stream",
    "get_recommendation_stream_recommender": "GET /v1/models/recommender/stream",
    "submit_model_image_job": "POST /v1/models/image/jobs",
    "submit_model_tabular_job": "POST /v1/models/tabular/jobs",
    "submit_recommender_job": "POST /v1/models/recommender/jobs",
    **{f"{name}_recommender": PUBLIC[name].replace("/v1/", "/v1/models/recommender/") for name in RESOURCES},
}
USERS = {"user_ids": ["1"]}
# Operations whose example is not answered with 200.
DONE = {name: "202" for name in PUBLIC if name.startswith(("send_feedback", "submit_"))} | {"delete_job": "204"}
NATIVE = (
    "classify_image", "classify_images", "predict_tabular", "recommend", "recommend_bulk",
    "predict_image", "predict_recommender",
)  # fmt: skip


def operations(document: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    return {
        operation["operationId"]: (f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


@pytest.fixture
def document(local_service: LocalService) -> dict[str, Any]:
    document: dict[str, Any] = local_service.get("/openapi.json").json()
    return document


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_both_paths_return_the_same_document(local_service: LocalService) -> None:
    assert local_service.get("/docs.json").content == local_service.get("/openapi.json").content


def test_every_operation_is_included(document: dict[str, Any]) -> None:
    named = {name: where for name, (where, _) in operations(document).items()}
    native = {f"bentoml_{name}": f"POST /{name}" for name in NATIVE}

    assert named == PUBLIC | native
    assert all(name.isidentifier() for name in named)


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    for name, (_, operation) in operations(document).items():
        assert operation["summary"], name
        assert set(operation["tags"]) <= tags
        for status, response in operation["responses"].items():
            assert response["description"]
            assert "X-Request-ID" in response["headers"]
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"]
        if "requestBody" in operation:
            done = DONE.get(name, "200")
            assert {done, "400", "408", "413", "415", "422", "500", "503", "504"} <= set(operation["responses"])


def test_every_json_body_has_a_valid_example(document: dict[str, Any]) -> None:
    checked = 0
    for name, (_, operation) in operations(document).items():
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for media_type, media in [each for body in bodies for each in body.get("content", {}).items()]:
            if "json" in media_type:
                assert media["examples"], f"{name} {media_type}"
                for example in media["examples"].values():
                    schema = {**media["schema"], "components": document["components"]}
                    jsonschema.validate(example["value"], schema, jsonschema.Draft202012Validator)
                    checked += 1
    assert checked > 100


def test_every_json_example_gets_a_valid_response(document: dict[str, Any]) -> None:
    local_service, admin = LocalService(api_keys=API_KEYS), headers("admin")
    tried = 0
    for name, (where, operation) in operations(document).items():
        method, _, path = where.partition(" ")
        query = {}
        if name == "get_job_result":
            continue  # no worker runs in this local_service: see routes/test_jobs.py
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "path":
                given = "v1" if parameter["name"] == "version" else parameter["example"]
                if parameter["name"] == "job_id":
                    given = local_service.post("/v1/recommendations/jobs", json=USERS, headers=admin).json()["id"]
                path = path.replace(f"{{{parameter['name']}}}", given)
            elif parameter["in"] == "query" and "example" in parameter:
                value = parameter["example"]
                query[parameter["name"]] = ",".join(value) if isinstance(value, list) else value
        content = operation.get("requestBody", {}).get("content", {"": {"examples": {"": {"value": None}}}})
        for media_type, media in content.items():
            if media_type not in ("", "application/json"):
                continue
            for example in media["examples"].values():
                response = (
                    local_service.ask(method, path, json=example["value"], headers=admin)
                    if media_type
                    else local_service.ask(method, path, params=query, headers=admin)
                )
                assert response.status_code == int(DONE.get(name, 200)), f"{name}: {response.text}"
                tried += 1
                if name == "delete_job":
                    continue
                content = operation["responses"][str(response.status_code)]["content"]
                assert response.headers["content-type"].partition(";")[0] in content
                if "application/json" in content:
                    schema = {**content["application/json"]["schema"], "components": document["components"]}
                    jsonschema.validate(response.json(), schema, jsonschema.Draft202012Validator)
    assert tried == 36 + 18 + 2 + 1 + 5 + 21 + 3


def test_the_tabular_request_follows_the_card(document: dict[str, Any]) -> None:
    row = document["components"]["schemas"]["Row"]

    assert list(row["properties"]) == [column.name for column in TABLE_CARD.inputs]
    assert row["additionalProperties"] is False
    assert "saving.accounts" not in row["required"]
    assert row["properties"]["age"]["type"] == "integer"
    assert row["properties"]["age"]["description"] == "Age in years. 18 to 75 in the training data"
    assert row["properties"]["sex"]["enum"] == ["female", "male"]
    assert "enum" not in row["properties"]["purpose"]
    assert document["components"]["schemas"]["ClassifiedRow"]["properties"]["prediction"]["enum"] == ["good", "bad"]


def test_another_card_changes_the_document_and_the_validation(
    local_service: LocalService, document: dict[str, Any]
) -> None:
    inputs = (Column("rooms", "number", minimum=1, maximum=9, example=4.0), Column("area m2", "number", example=80.0))
    local_service.serve_table(card("houses", "tabular-regression", inputs), outputs=1)

    changed = local_service.get("/openapi.json").json()
    answer = local_service.post("/v1/tabular/predict", json={"instances": [{"rooms": 4.5, "area m2": 80}]})

    assert list(changed["components"]["schemas"]["Row"]["properties"]) == ["rooms", "area m2"]
    assert "EstimatedRows" in changed["components"]["schemas"]
    assert "ClassifiedRows" not in changed["components"]["schemas"]
    result = changed["paths"]["/v1/jobs/{job_id}/result"]["get"]["responses"]["200"]["content"]["application/x-ndjson"]
    line, fault = map(orjson.loads, result["examples"]["tabular"]["value"].splitlines())
    assert isinstance(line["prediction"], float)
    assert line["model"]["name"] == "houses"
    assert fault["error"]["detail"] == "rooms: Field required"
    assert list(OpenAPIV31SpecValidator(changed).iter_errors()) == []
    assert answer.json()["predictions"] == [{"prediction": 4.5}]
    assert local_service.post("/v1/tabular/predict", json={"instances": [ROW]}).status_code == 422
    assert changed != document


def test_another_version_with_the_same_columns_changes_only_the_version(local_service: LocalService) -> None:
    before = local_service.get("/openapi.json").json()
    local_service.table_card = replace(TABLE_CARD, classes=("no", "yes"))

    schemas = local_service.get("/openapi.json").json()["components"]["schemas"]

    assert schemas["ClassifiedRow"]["properties"]["prediction"]["enum"] == ["no", "yes"]
    assert schemas["Row"] == before["components"]["schemas"]["Row"]


@pytest.mark.parametrize(("host", "url"), [("test", "http://test"), ("[::1]:3000", "http://[::1]:3000"), ("a'b", "/")])
def test_the_server_url_is_that_of_the_request(local_service: LocalService, host: str, url: str) -> None:
    # No proxy is trusted.
    headers = {"Host": host, "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "Forwarded": "host=evil"}
    assert local_service.get("/openapi.json", headers=headers).json()["servers"] == [{"url": url}]


def test_examples_use_users_and_items_of_the_model(local_service: LocalService) -> None:
    local_service.recommender_card = replace(
        local_service.recommender_card,
        inputs=(Column("user_id", "text", example="u 7"), *local_service.recommender_card.inputs[1:]),
        outputs=(Column("item_id", "text", example="sku/7"), Column("score", "number")),
    )
    paths = local_service.get("/openapi.json").json()["paths"]

    for path in ("/v1/items/{item_id}", "/v1/items/{item_id}/similar"):
        assert paths[path]["get"]["parameters"][0]["example"] == "sku/7"
    bodies = paths["/v1/recommendations"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert bodies["user"]["value"]["user_id"] == "u 7"
    assert bodies["stranger"]["value"]["history"] == ["sku/7"]
    assert bodies["rules"]["value"]["deny"] == {"ids": ["sku/7"]}

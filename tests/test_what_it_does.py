"""One test for each row of the README's table "What it does". Some of these tests are in other files.

Tests that take `service` call a running server. Tests of settings call the application in this process.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
import openapi_spec_validator
import pytest
from websockets.sync.client import connect

from tests.live.server import ANSWER_S, Server, wait_for
from tests.serving.access.credentials import API_KEYS, headers
from tests.serving.in_process_service import ROW, LocalService, png
from tests.serving.kinds.image.test_fetcher import HERE, ok, server

ROOT = Path(__file__).parent.parent
COFFEE = (ROOT / "docs" / "images" / "coffee.jpg").read_bytes()
CAT = (ROOT / "docs" / "images" / "chelsea.jpg").read_bytes()
CATS = {"tabby", "tiger cat", "Egyptian cat"}


def rows() -> list[tuple[str, str]]:
    """Return the rows of the table as (feature, interface)."""
    section = (ROOT / "README.md").read_text().partition("## What it does\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", section, re.MULTILINE)
    return [row for row in cells if not set(row[0]) <= set("-")][1:]


def name_of(row: str) -> str:
    return "test_" + re.sub(r"[^a-z0-9]+", "_", row.lower()).strip("_")


def test_every_row_has_a_test_by_its_name() -> None:
    defined = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    assert len(rows()) > 15
    assert [row for row, _ in rows() if name_of(row) not in defined] == []


def test_every_address_of_the_table_is_in_the_document() -> None:
    paths = {re.sub(r"\{\w+\}", "{}", path) for path in LocalService().get("/openapi.json").json()["paths"]}
    # Operations of administrators, which the application in this process does not have.
    paths |= {"/v1/models/{}/predict", "/v2/repository/models/{}/load"}
    paths |= {"/", "/redoc", "/docs.json", "/v1/ws/predict"}
    named = [path for _, through in rows() for path in re.findall(r"`(?:GET |POST )?(/[^`?]*)", through)]
    assert len(named) > 20
    assert [path for path in named if re.sub(r"\{\w+\}", "{}", path) not in paths] == []


@pytest.mark.live
def test_classifies_an_image(service: Server) -> None:
    address, file = "/v1/images/classify", base64.b64encode(COFFEE).decode()
    for answer in (
        service.post(address, files={"image": COFFEE}, data={"top_k": 1}),
        service.post(address, json={"image": file, "top_k": 1}),
        service.post(address, content=COFFEE, headers={"Content-Type": "image/jpeg"}, params={"top_k": 1}),
    ):
        assert [each["label"] for each in answer.json()["predictions"]] == ["espresso"]


@pytest.mark.live
def test_classifies_a_batch_of_images_in_which_an_invalid_image_fails_alone(service: Server) -> None:
    parts = [("images", file) for file in (CAT, b"no image", COFFEE)]
    results = service.post("/v1/images/classify-batch", files=parts, data={"top_k": 1}).json()["results"]

    assert results[0]["predictions"][0]["label"] in CATS
    assert results[1]["error"]["status"] == 415
    assert results[2]["predictions"][0]["label"] == "espresso"


@pytest.mark.live
def test_returns_the_embedding_of_an_image(service: Server) -> None:
    requests = [{"image": base64.b64encode(file).decode(), "embedding": True} for file in (CAT, CAT, COFFEE)]
    answers = [service.post("/v2/images/classify", json=each).json()["embedding"] for each in requests]
    cat, again, coffee = (np.array(each) / np.linalg.norm(each) for each in answers)

    assert cat @ again == pytest.approx(1, abs=1e-3)
    assert cat @ coffee < 0.8


@pytest.mark.live
def test_predicts_rows_of_a_table(service: Server) -> None:
    answer = service.post("/v1/tabular/predict", json=_example(service, "/v1/tabular/predict")).json()

    assert answer["predictions"][0]["prediction"] in ("good", "bad")
    assert sum(answer["predictions"][0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.live
def test_recommends_items_to_users(service: Server) -> None:
    one = service.post("/v1/recommendations", json={"user_id": "1", "n": 3}).json()
    several = service.post("/v1/recommendations/bulk", json={"user_ids": ["1", "nobody"], "n": 3}).json()
    of_user = service.get("/v1/users/1/recommendations", params={"n": 3})

    assert several["results"][0]["items"] == one["items"] == of_user.json()["items"]
    assert several["results"][1]["reason"] == "unknown_user"
    again = service.get(
        "/v1/users/1/recommendations", params={"n": 3}, headers={"If-None-Match": of_user.headers["ETag"]}
    )
    assert again.status_code == 304


@pytest.mark.live
def test_finds_items_similar_items_and_similar_users(service: Server) -> None:
    item = service.get("/v1/items", params={"query": "star wrs", "page_size": 1}).json()["items"][0]
    similar = service.get(f"/v1/items/{item['item_id']}/similar", params={"n": 3}).json()["items"]
    users = service.get("/v1/users/1/similar", params={"n": 3}).json()["users"]

    assert item["title"] == "Star Wars (1977)"
    assert any("Empire" in each["title"] or "Jedi" in each["title"] for each in similar)
    assert len(users) == 3
    assert all(user["user_id"] != "1" for user in users)


@pytest.mark.live
def test_streams_results_as_they_are_ready(service: Server) -> None:
    answer = service.post("/v1/recommendations/stream", json={"user_ids": ["1", "2"], "n": 1})

    kinds = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert kinds == ["item", "item", "done"]


@pytest.mark.live
def test_accepts_requests_over_a_websocket(service: Server) -> None:
    inputs = {"tabular": _example(service, "/v1/tabular/predict"), "recommender": {"user_id": "1", "n": 1},
              "image": {"image": base64.b64encode(COFFEE).decode(), "top_k": 1}}  # fmt: skip
    with connect(f"{service.url.replace('http', 'ws', 1)}/v1/ws/predict") as socket:
        for model, input_ in inputs.items():
            socket.send(json.dumps({"id": model, "model": model, "input": input_}))
        answers = {answer["id"]: answer for answer in (json.loads(socket.recv(timeout=ANSWER_S)) for _ in inputs)}

    assert {answer["status"] for answer in answers.values()} == {"ok"}
    assert answers["image"]["result"]["predictions"][0]["label"] == "espresso"
    counted = 'makunouchi_requests_total{method="WEBSOCKET",route="/v1/ws/predict",status="200"}'
    wait_for(lambda: counted in service.get("/metrics").text, "messages in the metrics")


@pytest.mark.live
@pytest.mark.parametrize("model", ["image", "tabular", "recommender"])
def test_implements_the_open_inference_protocol(service: Server, model: str) -> None:
    payload = _example(service, f"/v2/models/{model}/infer")
    answer = service.post(f"/v2/models/{model}/infer", json=payload).json()
    metadata = service.get(f"/v2/models/{model}").json()

    assert [each["name"] for each in answer["outputs"]] == [each["name"] for each in metadata["outputs"]]
    assert answer["model_version"] == metadata["versions"][0]


@pytest.mark.live
def test_answers_bentoml_s_clients(service: Server) -> None:
    with bentoml.SyncHTTPClient(service.url) as client:
        assert client.recommend(user_id="1", n=1)["items"]

    async def ask() -> Any:
        async with bentoml.AsyncHTTPClient(service.url) as client:
            return await client.recommend(user_id="1", n=1)

    assert asyncio.run(ask())["items"]


@pytest.mark.live
def test_serves_its_openapi_document_and_pages(service: Server) -> None:
    document = service.get("/docs.json").json()
    openapi_spec_validator.validate(document)
    assert document["openapi"].startswith("3.1")
    for page in ("/", "/redoc"):
        html = service.get(page).text
        for file in re.findall(r'(?:src|href)="([^"#]+)"', html):
            assert not file.startswith(("http:", "https:", "//"))
            assert service.get(f"/{file}").status_code == 200


@pytest.mark.live
def test_reports_errors_as_problem_documents(service: Server) -> None:
    invalid = service.post("/v1/recommendations", json={"user_id": "1", "n": 0})
    missing = service.get("/v1/models/nothing")

    assert invalid.headers["content-type"] == missing.headers["content-type"] == "application/problem+json"
    assert invalid.json()["errors"][0]["location"] == ["body", "n"]
    assert missing.json()["detail"] == "no model 'nothing'; known: image, recommender, tabular"


@pytest.mark.live
def test_reports_the_quality_of_each_model(service: Server) -> None:
    def metrics(name: str, filter_: str) -> Any:
        return service.get(f"/v1/models/{name}/metrics", params={"filter": filter_}).json()

    for name in ("image", "tabular", "recommender"):
        assert metrics(name, "overall")["overall"]
        assert metrics(name, "slice")["slices"]
    by_class = metrics("tabular", "class")["classes"]
    assert set(by_class) == {"good", "bad"}
    assert all(set(each) == {"precision", "recall", "f1", "support"} for each in by_class.values())
    assert "not labelled" in metrics("image", "class")["notes"][-1]


@pytest.mark.live
def test_reports_health_and_metrics(service: Server) -> None:
    assert service.get("/livez").json() == {"status": "alive"}
    assert set(service.get("/readyz").json()["runners"]) == {"image", "tabular", "recommender"}
    assert service.get("/health").json()["status"] == "ok"
    assert "makunouchi_runner_up" in service.get("/metrics").text


def test_authenticates_callers() -> None:
    local_service = LocalService(api_keys=API_KEYS)
    statuses = [
        local_service.post("/v1/tabular/predict", json={"instances": [ROW]}, headers=sent).status_code
        for sent in ({}, headers("read"), headers("predict"))
    ]
    assert statuses == [401, 403, 200]


def test_limits_request_rates() -> None:
    local_service = LocalService(rate_limit=1)
    answers = [local_service.post("/v1/tabular/predict", json={"instances": [ROW]}) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1].headers["Retry-After"].isdigit()


def test_serves_several_versions_of_a_model() -> None:
    local_service = LocalService(api_keys=API_KEYS)
    shared = local_service.ask(
        "PUT", "/v1/models/tabular/traffic", headers=headers("admin"), json={"weights": {"v1": 1.0, "v0": 0.0}}
    )

    assert shared.status_code == 200
    for version in ("v0", "v1"):
        sent = headers("predict") | {"X-Model-Version": version}
        answer = local_service.post("/v1/tabular/predict", json={"instances": [ROW]}, headers=sent)
        assert answer.json()["model"]["version"] == version


def test_caches_responses() -> None:
    local_service = LocalService(cache_bytes=1 << 20)
    answers = [local_service.post_image(png()) for _ in range(2)]

    assert [answer.headers["X-Cache"] for answer in answers] == ["miss", "hit"]
    assert local_service.images.calls == [1]


def test_fetches_images_by_url() -> None:
    async def run() -> None:
        async with server(lambda _: ok(png((0, 0, 255)))) as (url, _):
            local_service = LocalService(image_url_hosts=("127.0.0.1",), image_url_networks=HERE)
            async with local_service.client() as client:
                answer = await client.post("/v1/images/classify", json={"url": url, "top_k": 1})
            assert answer.json()["predictions"][0]["label"] == "blue"

    asyncio.run(run())
    assert LocalService().post("/v1/images/classify", json={"url": "http://127.0.0.1/"}).status_code == 422


def _example(service: Server, path: str) -> Any:
    document = service.get("/docs.json").json()
    content = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    return next(iter(content["examples"].values()))["value"]

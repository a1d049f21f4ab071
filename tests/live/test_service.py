"""Tests of the real service with the default models: predictions over HTTP and with BentoML's clients."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import bentoml
import httpx
import pytest
from bentoml.exceptions import BentoMLException

from models.recommender.registry import ALGORITHMS
from tests.fixtures_default import own_home
from tests.live.server import ANSWER_S, Server, serving, wait_for
from tests.serving.access.credentials import API_KEYS, KEYS

pytestmark = pytest.mark.live

ROOT = Path(__file__).parent.parent.parent
CAT = ROOT / "docs" / "images" / "chelsea.jpg"
COFFEE = ROOT / "docs" / "images" / "coffee.jpg"


def classify(service: Server, photo: Path, **fields: Any) -> dict[str, Any]:
    answer = service.post("/v1/images/classify", files={"image": photo.read_bytes()}, data=fields)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_version_2_returns_the_same_classes_and_an_embedding(service: Server) -> None:
    first = classify(service, CAT, top_k="3")
    answer = service.post(
        "/v2/images/classify",
        files={"image": CAT.read_bytes()},
        data={"top_k": "3", "embedding": "true", "model": "image"},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"] == first["predictions"]
    assert len(answer.json()["embedding"]) == 1280
    assert any(answer.json()["embedding"])


def example_rows(service: Server) -> list[dict[str, Any]]:
    """Return the rows of the example in the OpenAPI document."""
    document = service.get("/docs.json").json()
    body = document["paths"]["/v1/tabular/predict"]["post"]["requestBody"]["content"]["application/json"]
    example = next(iter(body["examples"].values()))["value"]
    rows: list[dict[str, Any]] = example["instances"]
    return rows


def test_image_classes_are_correct(service: Server) -> None:
    cats = {"tabby", "tiger cat", "Egyptian cat", "Persian cat", "Siamese cat"}
    likely = [p["label"] for p in classify(service, CAT, top_k=3)["predictions"] if p["confidence"] > 0.2]
    assert cats & set(likely)
    best = classify(service, COFFEE, top_k=1)["predictions"][0]
    assert best["label"] in ("espresso", "cup")
    assert best["confidence"] > 0.2


def test_invalid_image_of_a_batch_fails_alone(service: Server) -> None:
    parts = [("images", file) for file in (CAT.read_bytes(), b"no image", COFFEE.read_bytes())]
    answer = service.post("/v1/images/classify-batch", files=parts, data={"top_k": 1})
    assert answer.status_code == 200
    assert [result["status"] for result in answer.json()["results"]] == ["ok", "error", "ok"]


def test_row_probabilities_sum_to_one(service: Server) -> None:
    rows = example_rows(service)
    answer = service.post("/v1/tabular/predict", json={"instances": rows * 3})
    assert answer.status_code == 200
    for row in answer.json()["predictions"]:
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert row["prediction"] == max(row["probabilities"], key=row["probabilities"].get)


def test_known_users_get_personal_and_unknown_users_popular_items(service: Server) -> None:
    users = {"user_ids": ["1", "2", "nobody"], "n": 10}
    answer = service.post("/v1/recommendations/bulk", json=users)
    first, second, unknown = answer.json()["results"]
    assert [item["item_id"] for item in first["items"]] != [item["item_id"] for item in second["items"]]
    assert first["reason"] is None
    assert unknown["reason"] == "unknown_user"
    assert len(unknown["items"]) == 10


def test_every_algorithm_answers_a_request_that_names_it(service: Server) -> None:
    for name in ALGORITHMS.names():
        answer = service.post("/v1/recommendations", json={"user_id": "196", "n": 3, "model": name})
        assert answer.status_code == 200, answer.text
        assert answer.json()["algorithm"] == name
        assert len(answer.json()["items"]) == 3


def test_model_list_has_metrics_of_each_model(service: Server) -> None:
    models = {model["name"]: model for model in service.get("/v1/models").json()["models"]}
    assert set(models) == {"image", "tabular", "recommender"}
    for name, model in models.items():
        assert model["served"]
        assert model["metrics"]
        one = service.get(f"/v1/models/{name}").json()
        assert one["name"] == name


def test_bentoml_clients_get_the_same_predictions(service: Server) -> None:
    rows = example_rows(service)
    over_http = service.post("/v1/tabular/predict", json={"instances": rows}).json()["predictions"]
    with bentoml.SyncHTTPClient(service.url) as client:
        assert client.classify_image(image=COFFEE, top_k=1)["predictions"][0]["label"] in ("espresso", "cup")
        assert len(client.classify_images(images=[CAT, COFFEE])["results"]) == 2
        assert client.predict_tabular(instances=rows)["predictions"] == over_http
        assert len(client.recommend(user_id="1", n=3)["items"]) == 3
        assert len(client.recommend_bulk(user_ids=["1", "2"], n=3)["results"]) == 2
        with pytest.raises(BentoMLException, match="less than or equal to 100"):
            client.recommend(user_id="1", n=1000)

    async def recommend() -> list[Any]:
        async with bentoml.AsyncHTTPClient(service.url) as client:
            return await asyncio.gather(*(client.recommend(user_id=str(user), n=2) for user in range(1, 9)))

    assert [answer["user_id"] for answer in asyncio.run(recommend())] == [str(user) for user in range(1, 9)]


def test_bentoml_clients_send_api_keys(default_home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = own_home(default_home, tmp_path_factory)
    with serving("service:Gateway", env={"BENTOML_HOME": str(home), "MAKUNOUCHI_API_KEYS": API_KEYS}) as server:
        token = KEYS["predict"]
        with bentoml.SyncHTTPClient(server.url, token=token) as client:
            assert client.recommend(user_id="1", n=1)["items"]
            assert client.classify_image(image=COFFEE, top_k=1)["predictions"]

        async def recommend() -> Any:
            async with bentoml.AsyncHTTPClient(server.url, token=token) as client:
                return await client.recommend(user_id="1", n=1)

        assert asyncio.run(recommend())["items"]
        for wrong, status in ((None, 401), ("mk_wrong", 401), (KEYS["read"], 403)):
            with bentoml.SyncHTTPClient(server.url, token=wrong) as client, pytest.raises(BentoMLException) as caught:
                client.recommend(user_id="1", n=1)
            assert caught.value.error_code == status
        assert server.stop() == 0


def test_plain_requests_use_the_fast_path(service: Server) -> None:
    rows = example_rows(service)[:1]
    for path, body in (("/v1/tabular/predict", {"instances": rows}), ("/v1/recommendations", {"user_id": "1", "n": 1})):
        service.post(f"{path}", json=body).raise_for_status()
        counted = f'makunouchi_express_requests_total{{route="{path}"}}'
        wait_for(lambda counted=counted: counted in service.get("/metrics").text, counted)  # type: ignore[misc]


@pytest.mark.parametrize("field", ["image", "images"])
def test_native_file_fields_do_not_fetch_urls(service: Server, field: str) -> None:
    path = "/classify_image" if field == "image" else "/classify_images"
    fetches: list[str] = []

    async def fetch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fetches.append("fetched")
        writer.close()

    async def call() -> int:
        url_server = await asyncio.start_server(fetch, "127.0.0.1", 0)
        port = url_server.sockets[0].getsockname()[1]
        async with httpx.AsyncClient(timeout=ANSWER_S) as client:
            answer = await client.post(
                f"{service.url}{path}", data={field: f"http://127.0.0.1:{port}/x.jpg"}, files={"ignored": b""}
            )
        url_server.close()
        return answer.status_code

    assert asyncio.run(call()) in (400, 415, 422)
    assert fetches == []


@pytest.mark.parametrize("path", ["/classify_image", "/predict_tabular", "/recommend", "/v1/tabular/predict"])
def test_pickle_is_rejected(service: Server, path: str) -> None:
    answer = service.post(f"{path}", content=b"\x80\x04N.", headers={"Content-Type": "application/vnd.bentoml+pickle"})
    assert answer.status_code == 415


def test_no_process_loads_a_training_library(service: Server) -> None:
    for name in ("Gateway", "ImageRunner", "TabularRunner", "RecommenderRunner"):
        maps = Path(f"/proc/{service.worker(name).pid}/maps").read_text()
        for library in ("/torch/", "/torchvision/", "/sklearn/", "/lightfm/"):
            assert library not in maps, f"{name} has loaded {library}"


def test_missing_model_is_named_with_the_training_command(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "bentoml"), "serve", "service:Gateway", "--port", "1"]
    environment = {**os.environ, "BENTOML_HOME": str(tmp_path)}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 1
    assert "no artifact 'image' in the model store; run: make train" in run.stderr


def test_invalid_setting_stops_the_start_and_is_named(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "bentoml"), "serve", "service:Gateway", "--port", "1"]
    environment = {**os.environ, "BENTOML_HOME": str(tmp_path), "MAKUNOUCHI_MAX_ROWS": "many"}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 1
    assert "MAKUNOUCHI_MAX_ROWS" in run.stderr


def test_api_schema_follows_the_training_table(
    default_home: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    table = tmp_path / "other.csv"
    lines = [f"{i % 7},{'red' if i % 3 else 'blue'},{'yes' if i % 7 > 3 else 'no'}" for i in range(200)]
    table.write_text("\n".join(["size,colour,y", *lines]))
    home = own_home(default_home, tmp_path_factory)
    command = [sys.executable, "-m", "training.tabular", "--data", str(table), "--target", "y"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "BENTOML_HOME": str(home)}, check=True, capture_output=True)
    with serving("service:Gateway", env={"BENTOML_HOME": str(home)}) as server:
        document = json.dumps(server.get("/docs.json").json())
        assert '"colour"' in document
        assert '"checking_account"' not in document
        answer = server.post("/v1/tabular/predict", json={"instances": [{"size": 6, "colour": "red"}]}).json()
        assert answer["predictions"][0]["prediction"] == "yes"
        refused = server.post("/v1/tabular/predict", json={"instances": [{"size": 6, "colour": "green"}]})
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["location"] == ["body", "instances", 0, "colour"]
        assert server.stop() == 0

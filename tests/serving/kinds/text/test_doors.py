"""A small real text classifier behind every operation of the application, which serves no other kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from openapi_spec_validator import validate
from starlette.types import ASGIApp
from websockets.sync.client import connect

from models.store.artifacts import Artifact
from models.text.classifier import TextClassifier
from serving.access.guard import Guard
from serving.app import build_app
from serving.http.middleware.stack import middleware_stack
from serving.http.response_cache import build_cache
from serving.kinds.handlers import Handlers
from serving.kinds.registry import ServiceSettings
from serving.kinds.served_model import ServedModel
from serving.kinds.text.handler import TextHandler
from serving.kinds.text.version import TextVersion
from serving.routes.health import Metrics
from serving.runners.interface import ModelRef, RunnerResponse, RunnerStatus
from serving.server.fast_path.operations import fast_operations
from serving.testing.one_version import OneVersion
from serving.versions.router import VersionRouter
from tests.serving.event_loop import in_loop
from tests.serving.http_server import listening
from tests.training.text.example_texts import sentences_csv
from training.text.params import Params
from training.text.train import train

SPORT, FOOD = "The football match had a goal", "We had soup with bread and cheese"


class Runner:
    """A runner of one real classifier, in this process."""

    name = "text"

    def __init__(self, classifier: TextClassifier) -> None:
        self.classifier = classifier
        self.model = ModelRef("topics", classifier.artifact.version)
        self.batches: list[int] = []

    @property
    def last_status(self) -> RunnerStatus:
        return RunnerStatus(ready=True, model=self.model)

    async def status(self, *, timeout_s: float) -> RunnerStatus:
        return self.last_status

    async def predict(
        self, payload: Any, *, deadline: float, version: str = "", method: str = "", is_low_priority: bool = False
    ) -> RunnerResponse:
        assert version == self.model.version
        self.batches.append(len(payload))
        return RunnerResponse(self.classifier.predict(payload), self.model)


class TextService:
    """The application with a text classifier alone."""

    def __init__(self, artifact: Artifact, state: Path, **settings: Any) -> None:
        self.settings = ServiceSettings(state_folder=str(state), **settings)
        self.runner = Runner(TextClassifier.load(artifact))
        version = TextVersion(artifact.card)
        model: ServedModel[TextVersion] = ServedModel(
            "text", self.runner, lambda _: version, VersionRouter("topics", runner=self.runner), timeout_s=30.0
        )
        self.handler = TextHandler(model, max_texts=self.settings.max_texts)
        self.handlers = Handlers({"text": self.handler})
        self.cache = build_cache(self.settings)
        app = build_app(
            self.handlers,
            OneVersion(artifact),
            Metrics(lambda: b"up 1\n"),
            self.settings,
            version="0.1.0",
            cache=self.cache,
        )
        self.app: ASGIApp = middleware_stack(app, self.settings)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("topics")
    options = Params(data=sentences_csv(folder), text="message", target="topic", folds=2, name="topics")
    return train(options, store=folder / "models")


@pytest.fixture
def service(artifact: Artifact, tmp_path: Path) -> TextService:
    return TextService(artifact, tmp_path)


@pytest.fixture
def client(service: TextService) -> Iterator[httpx.Client]:
    with listening(service.app) as address, httpx.Client(base_url=f"http://{address}", timeout=60) as client:
        yield client


def test_one_text_and_several_are_classified(client: httpx.Client, artifact: Artifact) -> None:
    one = client.post("/v1/texts/classify", json={"text": SPORT})
    assert one.status_code == 200, one.text
    (prediction,) = one.json()["predictions"]
    assert prediction["prediction"] == "sport"
    assert sum(prediction["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert one.json()["model"] == {"name": "topics", "version": artifact.version}

    several = client.post("/v1/texts/classify", json={"texts": [SPORT, FOOD, ""]}).json()["predictions"]
    assert [each["prediction"] for each in several[:2]] == ["sport", "food"]
    assert len(several) == 3
    native = client.post("/classify_text", json={"texts": [FOOD]})
    assert native.json()["predictions"][0]["prediction"] == "food"


@pytest.mark.parametrize(
    ("body", "location"),
    [
        ({}, "body"),
        ({"text": 7}, "body"),
        ({"texts": []}, "body"),
        ({"texts": ["a"] * 257}, "body"),
        ({"text": "a", "more": 1}, "body"),
        ({"text": "x" * 100_001}, "body"),
    ],
)
def test_invalid_requests_name_the_fault(client: httpx.Client, body: dict[str, Any], location: str) -> None:
    response = client.post("/v1/texts/classify", json=body)
    assert response.status_code == 422, response.text
    assert response.json()["errors"][0]["location"][0] == location


def test_results_are_streamed(client: httpx.Client) -> None:
    response = client.post("/v1/texts/classify-stream", json={"texts": [FOOD, SPORT]})
    assert response.headers["content-type"].startswith("text/event-stream")
    results = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]
    assert {each["index"]: each["prediction"] for each in results[:2]} == {0: "food", 1: "sport"}
    assert results[2] == {"items": 2, "failed": 0}


def test_a_websocket_message_is_answered(service: TextService) -> None:
    with listening(service.app) as address, connect(f"ws://{address}/v1/ws/predict") as socket:
        socket.send(json.dumps({"id": 1, "model": "text", "input": {"text": SPORT}}))
        answer = json.loads(socket.recv(60))
        assert answer["status"] == "ok"
        assert answer["result"]["predictions"][0]["prediction"] == "sport"
        socket.send(json.dumps({"id": 2, "model": "tabular", "input": {}}))
        assert json.loads(socket.recv(60))["error"]["status"] == 422


def test_tensors_are_classified(client: httpx.Client) -> None:
    metadata = client.get("/v2/models/text").json()
    assert metadata["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    body = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [2], "data": [SPORT, FOOD]}]}
    outputs = {each["name"]: each["data"] for each in client.post("/v2/models/text/infer", json=body).json()["outputs"]}
    assert outputs["prediction"] == ["sport", "food"]
    assert len(outputs["probabilities"]) == 6
    body["inputs"][0] = {"name": "other", "datatype": "BYTES", "shape": [1], "data": ["x"]}
    assert client.post("/v2/models/text/infer", json=body).status_code == 422


def test_the_document_describes_the_kind(client: httpx.Client) -> None:
    document = client.get("/docs.json").json()
    validate(document)
    operation = document["paths"]["/v1/texts/classify"]["post"]
    assert operation["operationId"] == "classify_text"
    assert document["components"]["schemas"]["TextPrediction"]["properties"]["prediction"]["enum"] == [
        "food", "sport", "weather",
    ]  # fmt: skip
    assert {"/v1/texts/classify-stream", "/v1/texts/jobs", "/v2/models/text/infer", "/classify_text"} <= set(
        document["paths"]
    )
    for example in operation["requestBody"]["content"]["application/json"]["examples"].values():
        assert client.post("/v1/texts/classify", json=example["value"]).status_code == 200


def test_the_fast_path_returns_the_same_bytes_from_one_batch(service: TextService) -> None:
    own, operation = fast_operations(service.handlers, service.settings, Guard(), None)
    assert (own.path, operation.path) == ("/v1/models/text/predict", "/v1/texts/classify")
    assert operation.path == "/v1/texts/classify"
    bodies = [orjson.dumps(each) for each in ({"text": SPORT}, {"texts": [FOOD, SPORT]}, {"text": 7})]

    @in_loop
    async def test() -> None:
        outcomes = list(await operation.answer_each(bodies))
        assert service.runner.batches == [3]
        assert isinstance(outcomes[2], Exception)
        assert [
            [each["prediction"] for each in orjson.loads(outcome)["predictions"]]
            for outcome in outcomes
            if isinstance(outcome, bytes)
        ] == [["sport"], ["food", "sport"]]

    test()


def test_a_repeated_request_is_answered_from_the_cache(artifact: Artifact, tmp_path: Path) -> None:
    service = TextService(artifact, tmp_path, cache_bytes=1 << 20)
    with listening(service.app) as address, httpx.Client(base_url=f"http://{address}", timeout=60) as client:
        responses = [client.post("/v1/texts/classify", json={"text": SPORT}) for _ in range(2)]
    assert [each.headers["x-cache"] for each in responses] == ["miss", "hit"]
    assert responses[0].content == responses[1].content
    assert service.runner.batches == [1]

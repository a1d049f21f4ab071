"""Small classes of a user's behind every operation of the application, which serves no other kind."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from openapi_spec_validator import validate
from starlette.types import ASGIApp
from websockets.sync.client import connect

from models.python.model import PythonModel
from models.store.artifacts import Artifact
from serving.access.guard import Guard
from serving.app import build_app
from serving.http.middleware.stack import middleware_stack
from serving.http.response_cache import build_cache
from serving.kinds.handlers import Handlers
from serving.kinds.python.handler import PythonHandler
from serving.kinds.python.version import PythonVersion
from serving.kinds.registry import ServiceSettings
from serving.kinds.served_model import ServedModel
from serving.routes.health import Metrics
from serving.runners.host.batch_method import BatchMethod
from serving.runners.interface import ModelRef, RunnerResponse, RunnerStatus
from serving.runners.wire import WireRequest, WireResponse, decode_responses, encode_responses
from serving.server.fast_path.batch_queue import FastOperation
from serving.server.fast_path.cached import CachedResponses
from serving.server.fast_path.operations import fast_operations
from serving.testing.one_version import OneVersion
from serving.versions.router import VersionRouter
from tests.models.python.example_artifacts import saved
from tests.serving.event_loop import in_loop
from tests.serving.http_server import listening

GOOD, BAD = {"text": "a good film"}, {"text": "a bad film"}


class Runner:
    """A runner of one class, in this process, with the batch method and the frames of a real one."""

    name = "python"

    def __init__(self, artifact: Artifact) -> None:
        self.model = ModelRef(artifact.name, artifact.version)
        self.method = BatchMethod(PythonModel.load(artifact).predict, last_used=lambda: self.model, name="python")
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
        results = await self.method.run([WireRequest(payload, len(payload), "id", deadline)])
        (result,) = decode_responses(b"".join(encode_responses(results)))
        if isinstance(result, WireResponse):
            return RunnerResponse(result.payload, result.model)
        raise result


class PythonService:
    """The application with one class alone."""

    def __init__(self, artifact: Artifact, state: Path, **settings: Any) -> None:
        self.settings = ServiceSettings(state_folder=str(state), **settings)
        self.runner = Runner(artifact)
        version = PythonVersion(artifact.card, max_instances=self.settings.max_instances)
        model: ServedModel[PythonVersion] = ServedModel(
            "python", self.runner, lambda _: version, VersionRouter(artifact.name, runner=self.runner), timeout_s=30.0
        )
        self.handler = PythonHandler(model, max_instances=self.settings.max_instances)
        self.handlers = Handlers({"python": self.handler})
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
    return saved("Sentiment", tmp_path_factory.mktemp("sentiment") / "models", name="sentiment")


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return saved("Faulty", tmp_path_factory.mktemp("faulty") / "models", name="faulty")


@pytest.fixture
def service(artifact: Artifact, tmp_path: Path) -> PythonService:
    return PythonService(artifact, tmp_path)


@pytest.fixture
def client(service: PythonService) -> Iterator[httpx.Client]:
    with listening(service.app) as address, httpx.Client(base_url=f"http://{address}", timeout=60) as client:
        yield client


@pytest.fixture
def faulty_client(faulty: Artifact, tmp_path: Path) -> Iterator[httpx.Client]:
    service = PythonService(faulty, tmp_path)
    with listening(service.app) as address, httpx.Client(base_url=f"http://{address}", timeout=60) as client:
        yield client


def _main(operations: Sequence[FastOperation]) -> FastOperation:
    return next(each for each in operations if each.path == "/v1/python/predict")


def predict(client: httpx.Client, *instances: Any) -> httpx.Response:
    return client.post("/v1/python/predict", json={"instances": list(instances)})


def test_instances_are_predicted(client: httpx.Client, artifact: Artifact) -> None:
    response = predict(client, GOOD, BAD)
    assert response.status_code == 200, response.text
    content = response.json()
    assert content["predictions"] == [{"positive": True, "score": 1.0}, {"positive": False, "score": -1.0}]
    assert content["model"] == {"name": "sentiment", "version": artifact.version}
    native = client.post("/predict_python", json={"instances": [BAD]})
    assert native.json()["predictions"] == [{"positive": False, "score": -1.0}]


@pytest.mark.parametrize(
    ("body", "location", "message", "value_type"),
    [
        ({}, ["body", "instances"], "Field required", "absent"),
        ({"instances": []}, ["body", "instances"], "List should have at least 1 item", "array"),
        ({"instances": [GOOD] * 257}, ["body", "instances"], "List should have at most 256 items", "array"),
        ({"instances": [GOOD], "more": 1}, ["body", "more"], "Unknown field", "number"),
        ({"instances": [GOOD, {}]}, ["body", "instances", 1, "text"], "Field required", "absent"),
        ({"instances": [{"text": 7}]}, ["body", "instances", 0, "text"], "Input should be a valid string", "number"),
        ({"instances": ["x"]}, ["body", "instances", 0], "Input should be an object", "string"),
        (
            {"instances": [{"text": "a", "stars": "many"}]},
            ["body", "instances", 0, "stars"],
            "Input should be a valid integer or null",
            "string",
        ),
        ({"instances": [{"text": "x" * 1001}]}, ["body", "instances", 0, "text"], "longer than 1000", "string"),
    ],
)
def test_invalid_requests_name_the_fault(
    client: httpx.Client, body: dict[str, Any], location: list[str | int], message: str, value_type: str
) -> None:
    response = client.post("/v1/python/predict", json=body)
    assert response.status_code == 422, response.text
    (fault,) = response.json()["errors"]
    assert fault["location"] == location
    assert message in fault["message"]
    assert fault["value_type"] == value_type


@pytest.mark.parametrize("body", ["{", '{"instances": [NaN]}', '{"instances": [1e999]}'])
def test_a_body_that_is_not_json_is_malformed(client: httpx.Client, body: str) -> None:
    response = client.post("/v1/python/predict", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400, response.text


def test_an_integer_of_any_size_is_answered(client: httpx.Client) -> None:
    assert predict(client, {"text": "good", "stars": 10**30}).status_code in (200, 422)
    native = client.post("/predict_python", json={"instances": [{"text": "good", "stars": 10**30}]})
    assert native.status_code in (200, 422)


def test_a_fault_that_the_type_alone_finds_is_of_the_request(faulty_client: httpx.Client) -> None:
    response = predict(faulty_client, {"do": "answer"}, {"wait_s": 61})
    assert response.status_code == 422, response.text
    (fault,) = response.json()["errors"]
    assert fault["location"] == ["body", "instances", 1]
    assert fault["message"] == "Value error, a call waits at most a minute"


def test_the_class_can_refuse_an_instance(faulty_client: httpx.Client) -> None:
    response = predict(faulty_client, {"do": "refuse"})
    assert response.status_code == 422
    assert response.json()["errors"][0]["message"] == "this instance is not welcome"


@pytest.mark.parametrize("do", ["raise", "exit", "text", "nan", "surrogate"])
def test_a_failure_of_the_class_is_an_internal_error_without_its_text(
    faulty_client: httpx.Client, do: str, caplog: pytest.LogCaptureFixture
) -> None:
    response = predict(faulty_client, {"do": do})
    assert response.status_code == 500, response.text
    assert "secret" not in response.text
    assert predict(faulty_client, {"do": "answer"}).status_code == 200
    invalid = {"text": "field 'value' is str (float_parsing)", "nan": "field 'value': Input should be a valid number"}
    if do in invalid:
        log = caplog.text
        assert invalid[do] in log
        assert "secret" not in log


def test_results_are_streamed_and_fail_alone(faulty_client: httpx.Client) -> None:
    body = {"instances": [{"do": "answer"}, {"do": "raise"}, {"do": "refuse"}]}
    response = faulty_client.post("/v1/python/predict-stream", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    results = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]
    by_index = {each["index"]: each for each in results[:3]}
    assert by_index[0]["prediction"] == {"value": 1.0, "note": ""}
    assert [by_index[index]["error"]["status"] for index in (1, 2)] == [500, 422]
    assert results[3] == {"items": 3, "failed": 2}


def test_a_websocket_message_is_answered(service: PythonService) -> None:
    with listening(service.app) as address, connect(f"ws://{address}/v1/ws/predict") as socket:
        socket.send(json.dumps({"id": 1, "model": "python", "input": {"instances": [GOOD]}}))
        answer = json.loads(socket.recv(60))
        assert answer["status"] == "ok", answer
        assert answer["result"]["predictions"] == [{"positive": True, "score": 1.0}]
        socket.send(json.dumps({"id": 2, "model": "python", "input": {"instances": [{}]}}))
        assert json.loads(socket.recv(60))["error"]["status"] == 422


def infer(client: httpx.Client, datatype: str, *data: Any) -> httpx.Response:
    tensor = {"name": "instance", "datatype": datatype, "shape": [len(data)], "data": list(data)}
    return client.post("/v2/models/python/infer", json={"inputs": [tensor]})


def test_objects_are_tensors_of_json(client: httpx.Client) -> None:
    metadata = client.get("/v2/models/python").json()
    assert metadata["inputs"] == [{"name": "instance", "datatype": "BYTES", "shape": [-1]}]
    response = infer(client, "BYTES", json.dumps(GOOD), json.dumps(BAD))
    (output,) = response.json()["outputs"]
    assert [json.loads(each)["positive"] for each in output["data"]] == [True, False]
    assert infer(client, "BYTES", "{").json()["errors"][0]["location"] == ["body", "inputs", 0, "data", 0]
    fault = infer(client, "BYTES", "{}").json()["errors"][0]
    assert fault["location"] == ["body", "inputs", 0, "data", 0, "text"]
    assert infer(client, "FP32", 1.0).status_code == 422


def test_texts_and_numbers_are_tensors_of_their_own_datatype(tmp_path: Path) -> None:
    service = PythonService(saved("Length", tmp_path / "models"), tmp_path)
    with listening(service.app) as address, httpx.Client(base_url=f"http://{address}", timeout=60) as client:
        metadata = client.get("/v2/models/python").json()
        assert [metadata[each][0]["datatype"] for each in ("inputs", "outputs")] == ["BYTES", "INT64"]
        assert infer(client, "BYTES", "four", "").json()["outputs"][0]["data"] == [4, 0]
        assert predict(client, "four").json()["predictions"] == [4]
        validate(client.get("/docs.json").json())


@pytest.mark.slow
def test_the_document_describes_the_types_of_the_class(client: httpx.Client) -> None:
    document = client.get("/docs.json").json()
    validate(document)
    operation = document["paths"]["/v1/python/predict"]["post"]
    assert operation["operationId"] == "predict_python"
    schemas = document["components"]["schemas"]
    instances = schemas["PythonInstances"]["properties"]["instances"]
    assert instances["items"] == {"$ref": "#/components/schemas/python.Review"}
    assert schemas["python.Review"]["required"] == ["text"]
    assert schemas["PythonPredictions"]["properties"]["predictions"]["items"] == {
        "$ref": "#/components/schemas/python.Verdict"
    }
    assert {"/v1/python/predict-stream", "/v1/python/jobs", "/v2/models/python/infer", "/predict_python"} <= set(
        document["paths"]
    )
    for example in operation["requestBody"]["content"]["application/json"]["examples"].values():
        assert client.post("/v1/python/predict", json=example["value"]).status_code == 200


def test_the_schemas_of_a_class_are_described(client: httpx.Client) -> None:
    schema = client.get("/v1/models/sentiment/schema").json()
    assert schema["input_schema"]["properties"]["text"]["maxLength"] == 1000
    assert schema["output_schema"]["required"] == ["positive", "score"]
    assert [column["name"] for column in schema["inputs"]] == ["text", "stars"]


def test_the_fast_path_returns_the_same_bytes_from_one_batch(service: PythonService) -> None:
    operation = _main(fast_operations(service.handlers, service.settings, Guard(), None))
    bodies = [orjson.dumps({"instances": each}) for each in ([GOOD], [BAD, GOOD], [{"text": 7}])]

    @in_loop
    async def test() -> None:
        outcomes = list(await operation.answer_each(bodies))
        assert service.runner.batches == [3]
        assert isinstance(outcomes[2], Exception)
        assert [
            [each["positive"] for each in orjson.loads(outcome)["predictions"]]
            for outcome in outcomes
            if isinstance(outcome, bytes)
        ] == [[True], [False, True]]

    test()


def test_a_deterministic_class_is_answered_from_the_cache(artifact: Artifact, tmp_path: Path) -> None:
    service = PythonService(artifact, tmp_path, cache_bytes=1 << 20)
    with listening(service.app) as address, httpx.Client(base_url=f"http://{address}", timeout=60) as client:
        responses = [predict(client, GOOD) for _ in range(2)]
    assert [each.headers["x-cache"] for each in responses] == ["miss", "hit"]
    assert responses[0].content == responses[1].content
    assert service.runner.batches == [1]


def test_another_class_is_not(faulty: Artifact, tmp_path: Path) -> None:
    service = PythonService(faulty, tmp_path, cache_bytes=1 << 20)
    with listening(service.app) as address, httpx.Client(base_url=f"http://{address}", timeout=60) as client:
        responses = [predict(client, {"do": "answer"}) for _ in range(2)]
    assert [each.headers["x-cache"] for each in responses] == ["bypass", "bypass"]
    assert service.runner.batches == [1, 1]
    operation = _main(fast_operations(service.handlers, service.settings, Guard(), service.cache))
    cached = operation.from_cache.__self__  # type: ignore[union-attr]  # a bound method
    assert isinstance(cached, CachedResponses)
    assert cached.model() is None


def test_two_classes_have_operations_and_types_of_their_own(
    artifact: Artifact, faulty: Artifact, tmp_path: Path
) -> None:
    first, second = PythonService(artifact, tmp_path), PythonService(faulty, tmp_path)
    handlers = {}
    for name, service in (("sentiment", first), ("faulty", second)):
        service.handler.model.name = service.handler.model.path_name = name
        handlers[name] = service.handler
    app = build_app(Handlers(handlers), OneVersion(artifact), Metrics(lambda: b""), first.settings, version="0.1.0")
    with (
        listening(middleware_stack(app, first.settings)) as address,
        httpx.Client(base_url=f"http://{address}", timeout=60) as client,
    ):
        document = client.get("/docs.json").json()
        validate(document)
        requests = [
            document["paths"][f"/v1/models/{name}/predict"]["post"]["requestBody"]["content"]["application/json"]
            for name in handlers
        ]
        names = [each["schema"]["$ref"].rpartition("/")[2] for each in requests]
        schemas = document["components"]["schemas"]
        items = [schemas[name]["properties"]["instances"]["items"]["$ref"].rpartition("/")[2] for name in names]
        assert items[0].endswith("sentiment.Review")
        assert items[1].endswith("faulty.Moody")
        for name, body in (("sentiment", {"instances": [GOOD]}), ("faulty", {"instances": [{}]})):
            assert client.post(f"/v1/models/{name}/predict", json=body).status_code == 200

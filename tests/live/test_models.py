"""The real service with a model list: several models of one kind, and models that come and go while it serves."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bentoml
import httpx
import pytest
import tritonclient.http as triton  # type: ignore[import-untyped]
from sklearn.datasets import load_diabetes, load_wine
from tritonclient.utils import InferenceServerException  # type: ignore[import-untyped]
from websockets.sync.client import connect

from models.store.artifacts import find
from tests.fixtures_default import own_home
from tests.live.server import ANSWER_S, Server, serving, wait_for
from tests.live.test_reload import ADMIN, CAT, KEYS, MARK, relabelled
from tests.training.text.example_texts import sentences_csv

pytestmark = pytest.mark.live

LIST = """
[lite0]
artifact = "image:{image}"

[marked]
artifact = "image:marked"
runner = "pictures"

[credit]
artifact = "tabular"
max_queue_rows = 512

[wine]
artifact = "wine"
runner = "tables"

[sugar]
artifact = "sugar:latest"
runner = "tables"

[films]
artifact = "recommender"

[library]
artifact = "recommender"
required = false

[topics]
artifact = "topics"

[absent]
artifact = "not-there"
required = false
"""


@pytest.fixture(scope="module")
def home(default_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BENTOML_HOME with the default models, a second image classifier, two more tables and a text classifier."""
    from training.tabular.params import Params as TableParams
    from training.tabular.train import train as train_table
    from training.text.params import Params as TextParams
    from training.text.train import train as train_text

    home, data = own_home(default_home, tmp_path_factory), tmp_path_factory.mktemp("data")
    original = find("image", store=home / "models").version
    relabelled(home, "image", "marked", days=-1)
    for name, frame in (("wine", load_wine(as_frame=True).frame), ("sugar", load_diabetes(as_frame=True).frame)):
        file = data / f"{name}.csv"
        frame.rename(columns=lambda column: column.replace("/", "_")).to_csv(file, index=False)
        train_table(TableParams(data=file, target="target", name=name), store=home / "models")
    train_text(
        TextParams(data=sentences_csv(data), text="message", target="topic", folds=2, name="topics"),
        store=home / "models",
    )
    (home / "models.toml").write_text(LIST.format(image=original))
    return home


def started(home: Path, **env: str) -> Any:  # Any: a context manager of a server
    return serving(
        "service:Gateway",
        env={
            "BENTOML_HOME": str(home),
            "MAKUNOUCHI_MODELS_FILE": str(home / "models.toml"),
            "MAKUNOUCHI_API_KEYS": KEYS,
            "MAKUNOUCHI_GATEWAYS": "2",
            **env,
        },
    )


@pytest.fixture(scope="module")
def service(home: Path) -> Iterator[Server]:
    with started(home) as server:
        yield server


def example(service: Server, model: str) -> dict[str, Any]:
    """Return the example of a request to a model, as the document has it."""
    document = service.get("/docs.json", headers=ADMIN).json()
    content = document["paths"][f"/v1/models/{model}/predict"]["post"]["requestBody"]["content"]["application/json"]
    value: dict[str, Any] = next(iter(content["examples"].values()))["value"]
    return value


def predict(service: Server, model: str, body: Any) -> httpx.Response:
    return service.post(f"/v1/models/{model}/predict", json=body, headers=ADMIN)


def test_each_model_has_its_own_types_and_answers(service: Server) -> None:
    for model in ("credit", "wine", "sugar", "films", "library", "topics"):
        response = predict(service, model, example(service, model))
        assert response.status_code == 200, response.text
        assert response.json()["model"]["name"] == model
    assert predict(service, "wine", example(service, "sugar")).status_code == 422
    schema = service.get("/v1/models/wine/schema", headers=ADMIN).json()
    assert "alcohol" in [column["name"] for column in schema["inputs"]]
    # The operations of a kind answer with its first model.
    first = service.post("/v1/tabular/predict", json=example(service, "credit"), headers=ADMIN)
    assert first.json()["model"]["name"] == "credit"


def test_the_document_has_an_operation_for_each_model(service: Server) -> None:
    document = service.get("/docs.json", headers=ADMIN).json()
    ids = {operation["operationId"] for methods in document["paths"].values() for operation in methods.values()}
    assert {f"predict_{name}" for name in ("lite0", "marked", "credit", "wine", "sugar", "films", "topics")} <= ids
    assert "predict_absent" not in ids
    wine, sugar = (document["components"]["schemas"][f"{name}Row"] for name in ("Wine", "Sugar"))
    assert "alcohol" in wine["properties"]
    assert "alcohol" not in sugar["properties"]


def test_a_request_to_a_kind_names_one_of_its_models(service: Server) -> None:
    def classify(path: str, **fields: str) -> httpx.Response:
        files = {"images" if "-" in path else "image": ("cat.jpg", CAT)}
        return service.post(path, files=files, data={"top_k": "1", **fields}, headers=ADMIN)

    default, named = classify("/v1/images/classify"), classify("/v1/images/classify", model="marked")
    assert default.json()["model"]["name"] == "lite0"
    assert named.json()["model"] == {"name": "marked", "version": "marked"}
    assert named.json()["predictions"][0]["label"] == MARK + default.json()["predictions"][0]["label"]
    assert classify("/v2/images/classify", model="marked").json()["model"]["name"] == "marked"
    assert classify("/v1/images/classify-batch", model="marked").json()["model"]["name"] == "marked"
    assert MARK in classify("/v1/images/classify-stream", model="marked").text
    for path in (
        "/v1/images/classify",
        "/v2/images/classify",
        "/v1/images/classify-batch",
        "/v1/images/classify-stream",
    ):
        refused = classify(path, model="resnet")
        assert refused.status_code == 422
        assert "served: lite0, marked" in refused.json()["detail"]


def test_every_interface_reaches_a_model_by_its_name(service: Server) -> None:
    body = example(service, "wine")
    rows = service.get("/docs.json", headers=ADMIN).json()["paths"]["/v2/models/wine/infer"]["post"]["requestBody"]
    tensors = next(iter(rows["content"]["application/json"]["examples"].values()))["value"]
    inferred = service.post("/v2/models/wine/infer", json=tensors, headers=ADMIN)
    assert (inferred.status_code, inferred.json()["model_name"]) == (200, "wine")
    assert service.get("/v2/models/wine/ready", headers=ADMIN).status_code == 200

    url = service.url.replace("http", "ws") + "/v1/ws/predict"
    with connect(url, additional_headers=ADMIN) as socket:
        socket.send(json.dumps({"id": 1, "model": "wine", "input": body}))
        assert json.loads(socket.recv())["result"]["model"]["name"] == "wine"
        socket.send(json.dumps({"id": 2, "model": "none", "input": body}))
        assert json.loads(socket.recv())["error"]["status"] == 422

    with bentoml.SyncHTTPClient(service.url, server_ready_timeout=60) as client:
        client.client.headers.update(ADMIN)
        assert client.predict_wine(**body)["model"]["name"] == "wine"
        assert client.predict_sugar(**example(service, "sugar"))["model"]["name"] == "sugar"

    lines = "\n".join(json.dumps(row) for row in body["instances"] * 3)
    headers = {**ADMIN, "Content-Type": "application/x-ndjson"}
    job = service.post("/v1/models/wine/jobs", content=lines, headers=headers).json()
    assert job["kind"] == "models/wine"
    wait_for(lambda: service.get(job["links"]["job"], headers=ADMIN).json()["status"] == "succeeded", "the job")
    result = service.get(f"{job['links']['job']}/result", headers=ADMIN).text.splitlines()
    assert [json.loads(line)["model"]["name"] for line in result] == ["wine"] * 3


def test_each_recommender_has_its_own_feedback(service: Server, home: Path) -> None:
    event = {"user_id": "a reader", "item_id": "50", "kind": "like"}
    sent = service.post("/v1/models/library/feedback", json={"events": [event]}, headers=ADMIN)
    assert sent.status_code == 202, sent.text

    def history(model: str) -> int:
        user = service.get(f"/v1/models/{model}/users/a%20reader", headers=ADMIN)
        return int(user.json()["recent_interactions"]) if user.status_code == 200 else 0

    wait_for(lambda: history("library") > 0, "the library knows its reader")
    assert history("films") == 0
    assert (home / "makunouchi" / "feedback-library.db").is_file()


def test_a_model_that_cannot_be_loaded_stops_no_other(service: Server) -> None:
    assert service.get("/readyz", headers=ADMIN).status_code == 200
    state = service.get("/readyz", headers=ADMIN).json()["runners"]["absent"]
    assert (state["ready"], state["required"]) == (False, False)
    assert "not-there" in state["detail"]
    listed = {each["name"]: each for each in service.get("/v1/models", headers=ADMIN).json()["service"]}
    assert (listed["absent"]["status"], listed["wine"]["status"]) == ("failed", "ready")
    failed = predict(service, "absent", {})
    assert (failed.status_code, failed.json()["type"]) == (503, "/problems/model-failed")
    assert service.get("/v2/models/absent/ready", headers=ADMIN).status_code == 503
    assert predict(service, "unknown", {}).status_code == 404


class Load:
    """Requests to one model from several threads, and the statuses of their responses."""

    def __init__(self, service: Server, model: str, body: Any, *, threads: int = 4) -> None:
        self.statuses: Counter[int] = Counter()
        self._request = (f"{service.url}/v1/models/{model}/predict", body)
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        wait_for(lambda: self.statuses[200] > 0, "the first responses")
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        url, body = self._request
        with httpx.Client(headers=ADMIN, timeout=ANSWER_S) as client:
            # The pause leaves a part of the processors to the changes under load.
            while not self._is_over.wait(0.01):
                self.statuses[client.post(url, json=body).status_code] += 1


def index(service: Server) -> dict[str, str]:
    """Return the state of each model of the repository."""
    response = service.post("/v2/repository/index", headers=ADMIN)
    return {each["name"]: each["state"] for each in response.json()}


def in_both_gateways(service: Server, model: str, body: Any, status: int) -> bool:
    """Whether twenty new connections, which both gateways share, get this status."""
    return {predict(service, model, body).status_code for _ in range(20)} == {status}


def test_adds_and_removes_models_while_it_serves(service: Server) -> None:
    body = example(service, "wine")
    with Load(service, "wine", body) as load:
        new = service.request("PUT", "/v1/models/bottles", json={"artifact": "wine"}, headers=ADMIN)
        assert new.status_code == 201, new.text
        wait_for(lambda: in_both_gateways(service, "bottles", body, 200), "both gateways serve it")
        document = service.get("/docs.json", headers=ADMIN).json()
        assert "/v1/models/bottles/predict" in document["paths"]
        with bentoml.SyncHTTPClient(service.url, server_ready_timeout=60) as client:
            client.client.headers.update(ADMIN)
            assert client.predict_bottles(**body)["model"]["name"] == "bottles"
        again = service.request("PUT", "/v1/models/bottles", json={"artifact": "wine"}, headers=ADMIN)
        assert again.status_code == 200

        # The same artifact with another option: no request to it fails.
        request = {"artifact": "wine", "options": {"max_queue_rows": 100}}
        with Load(service, "bottles", body) as other:
            changed = service.request("PUT", "/v1/models/bottles", json=request, headers=ADMIN)
            assert changed.status_code == 200, changed.text
            time.sleep(2)
        assert set(other.statuses) == {200}

        loaded = service.post("/v2/repository/models/tabular/load", json={}, headers=ADMIN)
        assert (loaded.status_code, loaded.json()) == (200, {})
        expected = {"tabular": "READY", "bottles": "READY", "absent": "UNAVAILABLE"}
        wait_for(lambda: expected.items() <= index(service).items(), "both gateways list it")
        assert service.post("/v2/repository/models/tabular/unload", json={}, headers=ADMIN).status_code == 200
        wait_for(lambda: in_both_gateways(service, "tabular", {}, 404), "both gateways serve it no longer")
    assert set(load.statuses) == {200}
    assert load.statuses[200] > 20


def test_the_index_lists_the_models_that_are_ready(service: Server) -> None:
    path = "/v2/repository/index"
    ready = service.post(path, json={"ready": True, "of_a_client": 1}, headers=ADMIN).json()
    assert {each["state"] for each in ready} == {"READY"}
    assert "wine" in {each["name"] for each in ready}
    refused = service.post(path, json={"ready": 0}, headers=ADMIN)
    assert (refused.status_code, refused.json()["errors"][0]["location"]) == (422, ["body", "ready"])


def test_the_client_of_triton_loads_and_unloads_models(service: Server) -> None:
    client = triton.InferenceServerClient(f"127.0.0.1:{service.port}")
    client.load_model("recommender", headers=ADMIN)
    wait_for(lambda: bool(client.is_model_ready("recommender", headers=ADMIN)), "the model is ready")
    wait_for(
        lambda: {"name": "recommender", "state": "READY"}.items() <= _by_name(client)["recommender"].items(),
        "both gateways list it",
    )
    with pytest.raises(InferenceServerException, match="no model 'nothing' in the store"):
        client.load_model("nothing", headers=ADMIN)
    client.unload_model("recommender", headers=ADMIN)
    wait_for(lambda: _by_name(client)["recommender"]["state"] == "UNAVAILABLE", "the model is unloaded")
    wait_for(lambda: in_both_gateways(service, "recommender", {}, 404), "both gateways serve it no longer")
    client.close()


def _by_name(client: Any) -> dict[str, dict[str, str]]:
    return {each["name"]: each for each in client.get_model_repository_index(headers=ADMIN)}


@pytest.mark.parametrize(
    ("name", "request_body", "status", "says"),
    [
        ("x", {"artifact": "nothing"}, 404, "the store has: "),
        ("x", {"artifact": "wine", "kind": "nothing"}, 404, "known: image-classifier, tabular"),
        ("x", {"artifact": "wine", "kind": "recommender"}, 404, "has the task 'tabular-classification'"),
        ("x", {"artifact": "wine", "options": {"max_queue_row": 1}}, 422, "did you mean 'max_queue_rows'?"),
        ("x", {"artifact": "wine", "options": {"max_queue_rows": 0}}, 422, "greater than 0"),
        ("x", {"artifact": "wine", "runner": "absent"}, 409, "there is no runner 'AbsentRunner'"),
        ("x", {"artifact": "wine", "more": 1}, 422, "Unknown field"),
        ("Wine", {"artifact": "wine"}, 422, "a name has at most 63 of"),
        ("lite0.", {"artifact": "wine"}, 422, "a name has at most 63 of"),
    ],
)
def test_a_model_that_cannot_be_added_changes_nothing(
    service: Server, name: str, request_body: Any, status: int, says: str
) -> None:
    before = service.get("/v1/models", headers=ADMIN).json()["service"]
    refused = service.request("PUT", f"/v1/models/{name}", json=request_body, headers=ADMIN)
    assert refused.status_code == status, refused.text
    assert says in refused.text
    assert [each["name"] for each in service.get("/v1/models", headers=ADMIN).json()["service"]] == [
        each["name"] for each in before
    ]


def test_changes_survive_the_loss_of_a_runner_and_a_restart(home: Path) -> None:
    with started(home) as server:
        body = example(server, "wine")
        for name in ("first", "second"):
            put = server.request("PUT", f"/v1/models/{name}", json={"artifact": "wine"}, headers=ADMIN)
            assert put.status_code == 201, put.text
        assert server.request("DELETE", "/v1/models/second", headers=ADMIN).status_code == 204
        assert server.request("DELETE", "/v1/models/sugar", headers=ADMIN).status_code == 204
        assert server.request("DELETE", "/v1/models/second", headers=ADMIN).status_code == 404
        server.worker("TabularRunner").kill()
        wait_for(lambda: in_both_gateways(server, "first", body, 200), "the model is loaded again")
        assert server.stop() == 0
    with started(home) as server:
        wait_for(lambda: in_both_gateways(server, "first", body, 200), "the model is served after the restart")
        names = [each["name"] for each in server.get("/v1/models", headers=ADMIN).json()["service"]]
        assert "second" not in names
        assert "sugar" not in names
        assert "Traceback" not in server.log

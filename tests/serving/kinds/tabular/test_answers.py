"""A model of each task behind every operation of the application: one form of answers, and a document that says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]
import numpy as np
import orjson
import pytest
from lightgbm import LGBMClassifier
from openapi_spec_validator import validate
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.multioutput import MultiOutputClassifier
from websockets.sync.client import connect

from models.store.artifacts import Artifact
from models.tabular.answers import TASKS
from serving.access.guard import Guard
from serving.jobs.storage.item_file import JobItem
from serving.kinds.tabular.jobs import RowProcessor
from serving.server.fast_path.operations import fast_operations
from tests.serving.event_loop import in_loop
from tests.serving.http_server import listening
from tests.serving.kinds.tabular.table_service import TableService
from tests.training.fitted.served_rows import LABELS, SEVERAL, XR, YR, X, Y
from training import save

pytestmark = pytest.mark.slow

PATH = "/v1/tabular/predict"
MODELS: dict[str, Callable[[], tuple[Any, Any, Any]]] = {
    "tabular-classification": lambda: (LGBMClassifier(n_estimators=8, verbose=-1, n_jobs=1).fit(X, Y), X, Y),
    "tabular-regression": lambda: (Ridge().fit(XR, YR), XR, YR),
    "tabular-multi-class": lambda: (MultiOutputClassifier(LogisticRegression()).fit(X, LABELS), X, LABELS),
    "tabular-multi-regression": lambda: (LinearRegression().fit(XR, SEVERAL), XR, SEVERAL),
    "tabular-clustering": lambda: (KMeans(3, random_state=0).fit(X), X, None),
    "tabular-outliers": lambda: (IsolationForest(n_estimators=10, random_state=0).fit(X), X, None),
}
ROWS = [{f"x{place}": float(value) for place, value in enumerate(row)} for row in X[:3]]


@pytest.fixture(scope="module", params=TASKS)
def artifact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    model, rows, y = MODELS[request.param]()
    return save(model, rows, y, name="churn", store=tmp_path_factory.mktemp("models"))


@pytest.fixture
def service(artifact: Artifact, tmp_path: Path) -> TableService:
    return TableService(artifact, tmp_path)


@pytest.fixture
def client(service: TableService) -> Iterator[httpx.Client]:
    with listening(service.app) as address, httpx.Client(base_url=f"http://{address}", timeout=60) as client:
        yield client


def expected_of(task: str) -> list[dict[str, Any]]:
    """Return what the model itself predicts for ROWS, as responses have it."""
    model, _, _ = MODELS[task]()
    predicted = model.predict(X[:3])
    if task == "tabular-outliers":
        return [{"prediction": "inlier" if each == 1 else "outlier"} for each in predicted]
    if predicted.ndim == 2:
        kind = str if task == "tabular-multi-class" else float
        return [{"prediction": {f"y{place}": kind(value) for place, value in enumerate(row)}} for row in predicted]
    kinds = {"tabular-classification": str, "tabular-regression": float, "tabular-clustering": int}
    return [{"prediction": kinds[task](each)} for each in predicted]


def predictions_of(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    predictions: list[dict[str, Any]] = response.json()["predictions"]
    return predictions


def check(predictions: Sequence[Mapping[str, Any]], task: str) -> None:
    for predicted, expected in zip(predictions, expected_of(task), strict=True):
        assert predicted["prediction"] == pytest.approx(expected["prediction"])


@pytest.mark.parametrize("path", [PATH, "/v1/models/tabular/predict"])
def test_rows_are_answered_as_the_document_says(path: str, client: httpx.Client, artifact: Artifact) -> None:
    predictions = predictions_of(client.post(path, json={"instances": ROWS}))
    check(predictions, artifact.card.task)

    document = client.get("/docs.json").json()
    validate(document)
    operation = document["paths"][path]["post"]
    content = operation["responses"]["200"]["content"]["application/json"]
    schema = {**content["schema"], "components": document["components"]}
    body = client.post(path, json={"instances": ROWS}).json()
    jsonschema.validate(body, schema, jsonschema.Draft202012Validator)
    for example in content["examples"].values():
        jsonschema.validate(example["value"], schema, jsonschema.Draft202012Validator)
    for example in operation["requestBody"]["content"]["application/json"]["examples"].values():
        assert client.post(path, json=example["value"]).status_code == 200
    # The schema holds for no answer of another form.
    for change in ({"prediction": None}, {"prediction": [1]}):
        wrong = {**body, "predictions": [{**body["predictions"][0], **change}]}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema, jsonschema.Draft202012Validator)


def test_the_model_is_described(client: httpx.Client, artifact: Artifact) -> None:
    (listed,) = client.get("/v1/models").json()["models"]
    assert (listed["name"], listed["task"]) == ("churn", artifact.card.task)
    native = client.post("/predict_tabular", json={"instances": ROWS})
    check(predictions_of(native), artifact.card.task)


def test_tensors_are_answered_as_the_metadata_say(client: httpx.Client, artifact: Artifact) -> None:
    metadata = client.get("/v2/models/tabular").json()
    inputs = [
        {"name": f"x{place}", "datatype": "FP64", "shape": [3], "data": X[:3, place].tolist()} for place in range(5)
    ]
    response = client.post("/v2/models/tabular/infer", json={"inputs": inputs})
    assert response.status_code == 200, response.text
    outputs = response.json()["outputs"]
    assert [(each["name"], each["datatype"]) for each in outputs] == [
        (each["name"], each["datatype"]) for each in metadata["outputs"]
    ]
    for output, described in zip(outputs, metadata["outputs"], strict=True):
        assert output["shape"] == [3, *described["shape"][1:]]
        assert len(output["data"]) == int(np.prod(output["shape"]))
    rows = [each["prediction"] for each in expected_of(artifact.card.task)]
    flat = [value for row in rows for value in (row.values() if isinstance(row, dict) else [row])]
    assert outputs[0]["data"] == (flat if isinstance(flat[0], str | int) else pytest.approx(flat, rel=1e-6))


def test_likeliest_classes_are_named_where_there_are_probabilities(client: httpx.Client, artifact: Artifact) -> None:
    inputs = [
        {"name": f"x{place}", "datatype": "FP64", "shape": [1], "data": [float(X[0, place])]} for place in range(5)
    ]
    wanted = [{"name": "probabilities", "parameters": {"classification": 2}}]
    response = client.post("/v2/models/tabular/infer", json={"inputs": inputs, "outputs": wanted})
    if "class" not in artifact.card.task:
        assert response.status_code == 422
        return
    (output,) = response.json()["outputs"]
    (predicted,) = predictions_of(client.post(PATH, json={"instances": ROWS[:1]}))
    first = predicted["prediction"]
    named = [f"{target}={name}" for target, name in first.items()] if isinstance(first, dict) else [first]
    assert output["shape"] == [1, 2]
    assert output["data"][0].split(":")[2] in named


def test_a_websocket_message_is_answered(service: TableService, artifact: Artifact) -> None:
    with listening(service.app) as address, connect(f"ws://{address}/v1/ws/predict") as socket:
        socket.send(json.dumps({"id": 1, "model": "tabular", "input": {"instances": ROWS}}))
        check(json.loads(socket.recv(60))["result"]["predictions"], artifact.card.task)


def test_the_fast_path_answers_alike(service: TableService, artifact: Artifact) -> None:
    operations = fast_operations(service.handlers, service.settings, Guard(), None)

    @in_loop
    async def test() -> None:
        bodies = [orjson.dumps({"instances": [row]}) for row in ROWS]
        for operation in operations:
            outcomes = [outcome for outcome in await operation.answer_each(bodies) if isinstance(outcome, bytes)]
            check([orjson.loads(outcome)["predictions"][0] for outcome in outcomes], artifact.card.task)

    test()


def test_rows_of_a_job_are_answered_alike(service: TableService, artifact: Artifact) -> None:
    @in_loop
    async def test() -> None:
        processor = RowProcessor(service.handler, max_rows=64)
        outcomes = await processor.process([JobItem({"row": row}) for row in ROWS], {})
        check([outcome.content for outcome in outcomes], artifact.card.task)
        kind = service.handler.job_kind()
        assert kind.example().keys() - {"model"} == outcomes[0].content.keys() - {"status"}
        line_bytes = kind.line_bytes({})
        assert all(len(orjson.dumps(outcome.content)) < line_bytes for outcome in outcomes)

    test()


def test_two_versions_are_compared_by_what_they_answer(service: TableService, artifact: Artifact) -> None:
    form = service.handler.model.current.schema.form
    rows = form.rows(service.handler.model.runner.predictor.predict(X[:8]))  # type: ignore[attr-defined]
    same, other = form.compare(rows, rows), form.compare(rows[:4], rows[4:])
    if same.share is None:
        assert same.difference == 0
        assert (other.difference or 0) > 0
    else:
        assert same.share == 1
        assert 0 <= (other.share or 0.0) <= 1

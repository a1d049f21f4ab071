"""The real service with a user's own class, in the user's folder: each door, faults, versions, reload, metrics."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bentoml
import httpx
import pytest

from models.store.artifacts import versions
from tests.fixtures_default import own_home
from tests.live.server import ROOT, Server, serving, wait_for
from tests.live.test_reload import ADMIN, KEYS, reload

pytestmark = pytest.mark.live

CLASS = """
import os, time
from pathlib import Path

from pydantic import BaseModel

with open(os.environ["IMPORTED_BY"], "a") as file:
    file.write(f"{os.getpid()}\\n")


class Review(BaseModel):
    text: str
    wait_s: float = 0


class Verdict(BaseModel):
    positive: bool
    score: float


class Sentiment:
    example = Review(text="good")

    def load(self, folder: Path) -> None:
        self.good = float((folder / "good.txt").read_text())

    def predict(self, reviews: list[Review]) -> list[Verdict]:
        time.sleep(max(review.wait_s for review in reviews))
        if any("secret" in review.text for review in reviews):
            raise RuntimeError("the secret of the payload")
        return [Verdict(positive="good" in each.text, score=self.good * ("good" in each.text)) for each in reviews]
"""


class Service:
    """The running service, with two versions of the class: `old` scores 1, `new` scores 2."""

    def __init__(self, server: Server, folder: Path, old: str, new: str) -> None:
        self.server = server
        self.imported_by = folder / "imported_by"
        self.code = folder / "mymodels" / "sentiment.py"
        self.old, self.new = old, new

    def predict(self, *instances: object, **headers: str) -> httpx.Response:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.server.post("/v1/python/predict", json={"instances": list(instances)}, headers=ADMIN | names)

    def version(self, **headers: str) -> str:
        """Return the version that answers, after its score was compared."""
        response = self.predict({"text": "good"}, **headers)
        assert response.status_code == 200, response.text
        content = response.json()
        version = str(content["model"]["version"])
        assert content["predictions"] == [{"positive": True, "score": {self.old: 1.0, self.new: 2.0}[version]}]
        return version

    def metrics(self) -> str:
        return self.server.get("/metrics", headers=ADMIN).text


@pytest.fixture(scope="module")
def service(default_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home, folder = own_home(default_home, tmp_path_factory), tmp_path_factory.mktemp("project")
    (folder / "mymodels").mkdir()
    (folder / "mymodels" / "sentiment.py").write_text(CLASS)
    imported_by = folder / "imported_by"
    path = {"PYTHONPATH": f"{ROOT}:{folder}", "IMPORTED_BY": str(imported_by), "BENTOML_HOME": str(home)}
    for good in (1, 2):
        (folder / "good.txt").write_text(str(good))
        command = [sys.executable, "-m", "training.python", "--class", "mymodels.sentiment:Sentiment"]
        command += ["--weights", "good.txt", "--name", "sentiment"]
        subprocess.run(command, cwd=folder, env=os.environ | path, check=True, capture_output=True)
    new, old = (each.version for each in versions("sentiment", store=home / "models"))
    imported_by.unlink()
    env = {
        **path,
        "MAKUNOUCHI_PYTHON_MODEL": "sentiment:latest",
        "MAKUNOUCHI_API_KEYS": KEYS,
        "MAKUNOUCHI_RELOAD_CODE": "true",
    }
    with serving("service:Gateway", env=env) as server:
        yield Service(server, folder, old, new)


def test_serves_a_class_of_your_own(service: Service) -> None:
    assert service.version() == service.new
    pids = {int(line) for line in service.imported_by.read_text().split()}
    assert pids == {service.server.worker("PythonRunner").pid}


def test_a_failing_instance_does_not_affect_those_of_other_requests(service: Service) -> None:
    def ask(number: int) -> httpx.Response:
        return service.predict({"text": "a secret" if number % 8 == 0 else "good", "wait_s": 0.01})

    with ThreadPoolExecutor(16) as threads:
        responses = list(threads.map(ask, range(64)))
    assert Counter(each.status_code for each in responses) == {200: 56, 500: 8}
    assert not any("payload" in each.text for each in responses)
    assert "the secret of the payload" in service.server.log


def test_a_slow_call_ends_at_the_deadline_of_its_request(service: Service) -> None:
    started = time.monotonic()
    assert service.predict({"text": "good", "wait_s": 3}, X_Request_Timeout="0.5").status_code == 504
    assert time.monotonic() - started < 2.5
    assert service.server.get("/readyz", headers=ADMIN).status_code == 200
    assert service.predict({"text": "good"}).status_code == 200


def test_bentoml_and_open_inference_clients_are_answered(service: Service) -> None:
    with bentoml.SyncHTTPClient(service.server.url, server_ready_timeout=60) as client:
        client.client.headers.update(ADMIN)
        assert client.predict_python(instances=[{"text": "good"}])["predictions"][0]["positive"]
    tensor = {"name": "instance", "datatype": "BYTES", "shape": [1], "data": ['{"text": "good"}']}
    response = service.server.post("/v2/models/sentiment/infer", json={"inputs": [tensor]}, headers=ADMIN)
    assert response.json()["outputs"][0]["data"] == ['{"positive":true,"score":2.0}']


@pytest.mark.parametrize(
    ("media_type", "table"),
    [
        ("text/csv", "key,text,wait_s\na,good,0\nb,a secret,\nc,bad,\nd,good,long\n"),
        (
            "application/x-ndjson",
            '{"key": "a", "text": "good"}\n{"key": "b", "text": "secret"}\n{"key": "c", "text": "bad"}\n{"key": "d"}\n',
        ),
    ],
)
def test_a_table_is_a_job(service: Service, media_type: str, table: str) -> None:
    server = service.server
    headers = ADMIN | {"Content-Type": media_type}
    sent = server.post("/v1/python/jobs", params={"id_column": "key"}, content=table, headers=headers)
    assert sent.status_code == 202, sent.text
    path = sent.headers["Location"]
    wait_for(lambda: server.get(path, headers=ADMIN).json()["status"] == "succeeded", "the job")
    lines = server.get(f"{path}/result", headers=ADMIN | {"Accept": "application/x-ndjson"}).text.splitlines()
    results: list[Any] = [httpx.Response(200, text=line).json() for line in lines]
    assert [each.get("prediction", {}).get("positive") for each in results] == [True, None, False, None]
    assert [each.get("error", {}).get("status") for each in results] == [None, 500, None, 422]


def test_versions_are_split_named_and_reloaded(service: Service) -> None:
    server, path = service.server, "/v1/models/sentiment/traffic"
    split = server.request("PUT", path, json={"weights": {service.new: 0.5, service.old: 0.5}}, headers=ADMIN)
    assert split.status_code == 200, split.text
    counts = Counter(service.version(X_Session_ID=f"s{number}") for number in range(40))
    assert set(counts) == {service.old, service.new}
    assert service.version(X_Model_Version=service.old) == service.old
    assert server.request("DELETE", path, headers=ADMIN).status_code == 200
    assert reload(server, "sentiment", service.old).status_code == 200
    wait_for(lambda: service.version() == service.old, "the reload")
    wait_for(lambda: 'makunouchi_version_requests_total{model="sentiment"' in service.metrics(), "metrics of versions")
    assert 'makunouchi_express_requests_total{route="/v1/python/predict"}' in service.metrics()


def test_changed_code_answers_within_two_seconds(service: Service) -> None:
    def predictions() -> object:
        return service.predict({"text": "good"}).json()["predictions"]

    pid = service.server.worker("PythonRunner").pid
    score = predictions()[0]["score"]  # type: ignore[index]  # JSON
    for number in (3, 4):
        service.code.write_text(CLASS.replace("score=self.good", f"score={number} * self.good"))
        started = time.monotonic()
        wait_for(lambda number=number: predictions() == [{"positive": True, "score": number * score}], "the new code")  # type: ignore[misc]  # bound now
        assert time.monotonic() - started < 2
    service.code.write_text("class Sentiment(")
    wait_for(lambda: "is not used" in service.server.log, "the log")
    assert predictions() == [{"positive": True, "score": 4 * score}]
    assert service.server.worker("PythonRunner").pid == pid

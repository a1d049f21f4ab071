"""The real service with a class that asks other models of the model list: batches, deadline, lost runner, bad lists."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.live.server import ROOT, Server, serving, wait_for
from tests.live.test_reload import ADMIN, KEYS

pytestmark = pytest.mark.live

CODE = """
import time
from dataclasses import dataclass


class Lengths:
    example = "four"

    def predict(self, texts: list[str]) -> list[int]:
        if any(text.startswith("wait") for text in texts):
            time.sleep(3)
        return [len(text) for text in texts]


@dataclass
class Report:
    length: int
    asked_at_once: int


class Reporter:
    example = "four"
    uses = ("lengths",)

    def predict(self, texts: list[str]) -> list[Report]:
        lengths = self.models["lengths"].predict([7 if text == "number" else text for text in texts])
        return [Report(length, len(texts)) for length in lengths]


class Doubled(Lengths):
    def predict(self, texts: list[str]) -> list[int]:
        return [2 * len(text) for text in texts]


class Circular(Lengths):
    uses = ("reports",)
"""
LIST = """
[lengths]
artifact = "{lengths}"
runner = "lengths"

[reports]
artifact = "reporter"
{more}
"""


class Project:
    """A folder with the classes, and a store with their artifacts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "mymodels.py").write_text(CODE)
        self.env = {"PYTHONPATH": f"{ROOT}:{folder}", "BENTOML_HOME": str(folder / "home")}
        for class_name in ("Lengths", "Reporter", "Doubled", "Circular"):
            command = ["-m", "training.python", "--class", f"mymodels:{class_name}", "--name", class_name.lower()]
            subprocess.run(
                [sys.executable, *command], cwd=folder, env=os.environ | self.env, check=True, capture_output=True
            )

    def listed(self, *, lengths: str = "lengths", more: str = "") -> dict[str, str]:
        """Write a model list, and return the environment of a service that follows it."""
        (self.folder / "models.toml").write_text(LIST.format(lengths=lengths, more=more))
        return {**self.env, "MAKUNOUCHI_MODELS_FILE": str(self.folder / "models.toml"), "MAKUNOUCHI_API_KEYS": KEYS}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture(scope="module")
def server(project: Project) -> Iterator[Server]:
    with serving("service:Gateway", env=project.listed()) as server:
        yield server


def report(server: Server, text: str, **headers: str) -> httpx.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.post("/v1/models/reports/predict", json={"instances": [text]}, headers=ADMIN | names)


def put(server: Server, artifact: str) -> httpx.Response:
    body = {"artifact": artifact, "runner": "lengths"}
    return server.request("PUT", "/v1/models/lengths", json=body, headers=ADMIN)


def test_a_class_asks_another_model_in_batches(server: Server) -> None:
    with ThreadPoolExecutor(16) as threads:
        responses = list(threads.map(lambda number: report(server, "x" * number), range(64)))
    assert {each.status_code for each in responses} == {200}
    assert [each.json()["predictions"][0]["length"] for each in responses] == list(range(64))


def test_rows_that_the_other_model_refuses_are_a_failure_of_the_class(server: Server) -> None:
    assert report(server, "number").status_code == 500
    wait_for(lambda: "model 'lengths' refuses the rows: Input should be a valid string" in server.log, "the log")


def test_the_deadline_of_the_request_is_that_of_the_call(server: Server) -> None:
    started = time.monotonic()
    assert report(server, "wait", X_Request_Timeout="0.5").status_code == 504
    assert time.monotonic() - started < 2.5
    # The class is free again before the other model has answered.
    response = report(server, "four", X_Request_Timeout="10")
    assert response.status_code == 200
    assert response.json()["predictions"] == [{"length": 4, "asked_at_once": 1}]


def test_a_model_that_is_replaced_while_the_service_runs_is_asked(server: Server) -> None:
    changed = put(server, "doubled")
    assert changed.status_code in (200, 201), changed.text
    wait_for(lambda: report(server, "four").json().get("predictions", [{}])[0].get("length") == 8, "the new model")
    refused = put(server, "circular")
    assert 400 <= refused.status_code < 500
    assert "in a cycle: lengths -> reports -> lengths" in refused.text
    assert report(server, "four").json()["predictions"][0]["length"] == 8
    restored = put(server, "lengths")
    assert restored.status_code in (200, 201), restored.text
    wait_for(lambda: report(server, "four").json().get("predictions", [{}])[0].get("length") == 4, "the old model")


def test_a_lost_runner_is_unavailable_until_it_is_back(server: Server) -> None:
    with server.held():
        server.worker("LengthsRunner").kill()
        assert report(server, "four", X_Request_Timeout="5").status_code in (503, 504)
    wait_for(lambda: report(server, "four").status_code == 200, "the runner")


@pytest.mark.parametrize(
    ("lengths", "more", "message"),
    [
        ("circular", "", "models use each other in a cycle: lengths -> reports -> lengths"),
        ("lengths", 'runner = "lengths"', "model 'reports' uses 'lengths', which runs in the same process"),
    ],
)
def test_models_that_cannot_ask_each_other_do_not_start(
    project: Project, lengths: str, more: str, message: str
) -> None:
    with serving("service:Gateway", env=project.listed(lengths=lengths, more=more), wait=False) as failing:
        assert failing.process.wait(120) != 0
        assert message in failing.log

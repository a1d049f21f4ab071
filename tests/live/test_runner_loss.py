"""Tests of a killed runner: 503 with Retry-After for its model, other models work, and it restarts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.fixtures_default import own_home
from tests.live.server import Server, serving, wait_for

pytestmark = pytest.mark.live

ROOT = Path(__file__).parent.parent.parent

CALLS: dict[str, Callable[[Server], httpx.Response]] = {
    "ImageRunner": lambda server: server.post(
        "/v1/images/classify", files={"image": (ROOT / "docs" / "images" / "chelsea.jpg").read_bytes()}
    ),
    "TabularRunner": lambda server: server.post("/v1/tabular/predict", json={"instances": [tabular_example(server)]}),
    "RecommenderRunner": lambda server: server.post("/v1/recommendations", json={"user_id": "1"}),
}


def tabular_example(server: Server) -> object:
    document = server.get("/docs.json").json()
    body = document["paths"]["/v1/tabular/predict"]["post"]["requestBody"]["content"]["application/json"]
    return next(iter(body["examples"].values()))["value"]["instances"][0]


def test_restarts_a_runner_that_dies(default_home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving("service:Gateway", env={"BENTOML_HOME": str(own_home(default_home, tmp_path_factory))}) as server:
        for name in CALLS:
            kill_runner(server, name)
        # Without the fork server a new interpreter replaces a process.
        server.worker("fork server").kill()
        kill_runner(server, "TabularRunner")
        assert "--service-name" in server.worker("TabularRunner").cmdline()
        assert server.stop() == 0


def kill_runner(server: Server, name: str) -> None:
    call = CALLS[name]
    assert call(server).status_code == 200
    with server.held():
        server.worker(name).kill()
        wait_for(lambda: call(server).status_code == 503, "the loss is detected")

        refused = call(server)
        assert refused.headers["Retry-After"].isdigit()
        assert refused.headers["Content-Type"] == "application/problem+json"
        readiness = server.get("/readyz")
        assert readiness.status_code == 503
        runner = name.removesuffix("Runner").lower()
        assert runner in readiness.json()["detail"]
        for other in CALLS.keys() - {name}:
            assert CALLS[other](server).status_code == 200

    wait_for(lambda: call(server).status_code == 200, "the runner has restarted")
    server.wait_ready()

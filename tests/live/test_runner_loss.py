"""A runner dies: its calls are answered 503 with Retry-After, the others go on, and it comes back by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.fixtures_default import own_home
from tests.live.server import Server, serving

pytestmark = pytest.mark.live

ROOT = Path(__file__).parent.parent.parent
BACK_S = 60.0

CALLS: dict[str, Callable[[str], httpx.Response]] = {
    "ImageRunner": lambda url: httpx.post(
        f"{url}/v1/images/classify", files={"image": (ROOT / "docs" / "images" / "chelsea.jpg").read_bytes()}
    ),
    "TabularRunner": lambda url: httpx.post(f"{url}/v1/tabular/predict", json={"instances": [tabular_example(url)]}),
    "RecommenderRunner": lambda url: httpx.post(f"{url}/v1/recommendations", json={"user_id": "1"}),
}


def tabular_example(url: str) -> object:
    document = httpx.get(f"{url}/docs.json").json()
    body = document["paths"]["/v1/tabular/predict"]["post"]["requestBody"]["content"]["application/json"]
    return next(iter(body["examples"].values()))["value"]["instances"][0]


def wait_for(condition: Callable[[], bool], *, timeout_s: float) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, f"not within {timeout_s} s"
        time.sleep(0.05)


def test_comes_back_when_a_model_s_process_dies(default_home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    with serving("service:Gateway", env={"BENTOML_HOME": str(own_home(default_home, tmp_path_factory))}) as server:
        for name in CALLS:
            lose(server, name)
        assert server.stop() == 0


def lose(server: Server, name: str) -> None:
    call = CALLS[name]
    assert call(server.url).status_code == 200
    server.worker(name).kill()
    wait_for(lambda: call(server.url).status_code == 503, timeout_s=10)

    refused = call(server.url)
    assert refused.headers["Retry-After"].isdigit()
    assert refused.headers["Content-Type"] == "application/problem+json"
    readiness = httpx.get(f"{server.url}/readyz")
    assert readiness.status_code == 503
    missing = name.removesuffix("Runner").lower()
    assert missing in readiness.json()["detail"]
    for other in CALLS.keys() - {name}:
        assert CALLS[other](server.url).status_code == 200

    wait_for(lambda: call(server.url).status_code == 200, timeout_s=BACK_S)
    server.wait_ready(timeout_s=BACK_S)

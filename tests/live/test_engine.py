"""Tests of the engine on a real server: responses under load and after failures of processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.live.load import ROW, Footprint, load, load_and, settle
from tests.live.server import Server, free_port, serving, wait_for

pytestmark = pytest.mark.live

PROJECT = Path(__file__).parent / "projects" / "overhead"
TIMEOUT_S = 10.0
RAISE, WRONG_SHAPE, NAN, HOLD = -1.0, -2.0, -3.0, -6.0


def faulty_row(kind: float) -> list[float]:
    return [kind] + [0.0] * 29


@pytest.fixture(scope="module", params=["process", "inline", "url"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "process":
        # The fault tests come last in this file.
        yield request.getfixturevalue("fault_server")
        return
    if request.param == "inline":
        with serving("service:Gateway", folder=PROJECT, env={"OVERHEAD_PLACEMENT": "inline"}) as running:
            yield running
        return
    # The runners start at the same time as the gateway, which is ready once they are.
    with (
        serving("service:SumRunner", folder=PROJECT, wait=False) as sums,
        serving("service:EchoRunner", folder=PROJECT, wait=False) as echoes,
        serving("service:Gateway", folder=PROJECT, env={"OVERHEAD_PLACEMENT": f"{sums.url},{echoes.url}"}) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file whose existence ends the held requests of `fault_server`."""
    return tmp_path_factory.mktemp("faults") / "gate"


@pytest.fixture(scope="module")
def fault_server(gate: Path) -> Iterator[Server]:
    env = {"OVERHEAD_PLACEMENT": "process", "OVERHEAD_TIMEOUT_S": str(TIMEOUT_S), "OVERHEAD_GATE": str(gate)}
    with serving("service:Gateway", folder=PROJECT, env=env) as running:
        yield running


@pytest.fixture
def process_server(fault_server: Server) -> Server:
    """The server of the fault tests, after it has recovered from the previous test."""
    wait_for(lambda: is_serving(fault_server), "the server has recovered")
    return fault_server


def is_serving(server: Server) -> bool:
    """Return whether the server is ready and predicts. Readiness alone can lag behind a lost runner."""
    return server.is_ready() and post(server).status_code == 200


def inside(server: Server) -> dict[str, int]:
    """Return tasks, queued rows and requests in flight of the gateway."""
    state: dict[str, int] = server.get("/inside").json()
    return state


def post(server: Server, path: str = "/sum", json: Any = ROW, **more: Any) -> httpx.Response:
    return server.post(f"{path}", json=json, timeout=30, **more)


def test_rows_and_queries_are_predicted(server: Server) -> None:
    assert post(server).json() == {"sums": [30.0], "version": post(server).json()["version"]}
    assert post(server, json=[ROW] * 7).json()["sums"] == [30.0] * 7
    assert post(server, "/echo", [{"a": 1}]).json() == [{"heard": {"a": 1}}]


def test_native_api_uses_the_same_middleware(server: Server) -> None:
    response = post(server, "/native_sum", {"row": ROW}, headers={"X-Request-ID": "abc.DEF-1_2"})
    assert response.json() == 30.0
    assert response.headers["x-request-id"] == "abc.DEF-1_2"
    assert float(response.headers["x-process-time"]) > 0


def test_no_request_fails_at_64_connections(server: Server) -> None:
    seen = load(server.url, connections=64, seconds=4)
    assert set(seen.seen) == {200}, seen.seen
    assert seen.seen[200] >= 64


@pytest.mark.parametrize("kind", [RAISE, WRONG_SHAPE, NAN])
def test_model_error_fails_one_request_without_details(server: Server, kind: float) -> None:
    response = post(server, json=faulty_row(kind))
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert "secret" not in response.text
    assert post(server).json()["sums"] == [30.0]


def test_unexpected_error_is_a_problem_document(server: Server) -> None:
    response = server.get("/fail", headers={"X-Request-ID": "r-1"})
    assert response.status_code == 500
    assert response.json()["request_id"] == "r-1"
    assert "secret" not in response.text


@pytest.mark.parametrize("path", ["/native_sum", "/sum"])
def test_pickle_is_rejected(server: Server, path: str) -> None:
    body = b"cos\nsystem\n(S'true'\ntR."
    response = server.post(path, content=body, headers={"content-type": "application/vnd.bentoml+pickle"})
    assert response.status_code != 200
    if path == "/native_sum":
        assert response.status_code == 415


def test_gateway_does_not_expose_the_runner_protocol(server: Server) -> None:
    for path in ("/runner/status", "/runner/reload", "/runner/predict", "/runner/session"):
        assert server.get(path).status_code == 404
        assert post(server, path).status_code == 404


def test_invalid_request_id_is_replaced(server: Server) -> None:
    response = post(server, headers={"X-Request-ID": "x" * 200})
    assert len(response.headers["x-request-id"]) == 32


def test_reload_under_load_fails_no_request(server: Server) -> None:
    statuses: list[int] = []

    def reload() -> None:
        statuses.extend(post(server, f"/reload/{version}").status_code for version in ("v2", "v3", "broken", "v4"))

    seen = asyncio.run(load_and(server.url, reload, connections=16, seconds=3))
    assert set(seen.seen) == {200}, seen.seen
    assert statuses[:2] + statuses[3:] == [200, 200, 200]
    assert statuses[2] >= 400
    assert post(server).json()["version"] == "v4"


def metrics(server: Server) -> str:
    return server.get("/metrics").text


def test_metrics_cover_all_processes_with_bounded_labels(server: Server) -> None:
    post(server)
    server.get(f"/not/there/{time.time()}")
    expected = [
        'makunouchi_requests_total{method="POST",route="/sum",status="200"}',
        'makunouchi_runner_up{runner="sum"} 1.0',
        'makunouchi_batch_rows_count{runner="sum"}',
        'route="unmatched"',
    ]
    wait_for(lambda: all(each in metrics(server) for each in expected), f"metrics with {expected}")
    assert "/not/there" not in metrics(server)


def test_access_log_has_ids_and_route_templates_only(server: Server) -> None:
    server.get("/slow/0.01?token=hunter2", headers={"X-Request-ID": "logged-1"})
    wait_for(lambda: "request_id=logged-1" in server.log, "the request in the log")
    (line,) = [line for line in server.log.splitlines() if "request_id=logged-1" in line]
    assert "method=GET route=/slow/{seconds} status=200" in line
    assert "hunter2" not in server.log


def test_load_leaks_no_resources(server: Server) -> None:
    # As much load before as after, so that the allocator has its memory on a slow machine too.
    load(server.url, connections=64, seconds=2)
    wait_for(lambda: inside(server)["taken"] == 0, "no request in flight")
    before = Footprint.of(server)
    load(server.url, connections=64, seconds=2)
    settle(server, before, more_mb=10)
    assert inside(server)["queued"] == 0


def test_late_prediction_is_504_at_the_deadline(process_server: Server, gate: Path) -> None:
    started = time.monotonic()
    headers = {"X-Request-Timeout": "0.5", "Origin": "https://shop.example"}
    response = post(process_server, json=faulty_row(HOLD), headers=headers)
    assert response.status_code == 504
    # A page of another origin can read the error.
    assert response.headers["access-control-allow-origin"] == "https://shop.example"
    assert response.headers["content-type"] == "application/problem+json"
    # The request's own deadline applies, not the server's.
    assert time.monotonic() - started < TIMEOUT_S
    gate.touch()
    process_server.wait_ready()


def test_killed_runner_loses_no_call_that_its_replacement_can_answer(process_server: Server) -> None:
    runner = process_server.worker("SumRunner")
    seen = asyncio.run(load_and(process_server.url, runner.kill, connections=32, seconds=6))
    assert set(seen.seen) <= {200, 503}, seen.seen
    # Calls wait for the new process where it starts in time.
    assert seen.without_retry_after == 0
    assert seen.slowest_s < TIMEOUT_S
    wait_for(lambda: is_serving(process_server), "the runner has restarted")
    assert post(process_server).json()["sums"] == [30.0]


def test_readiness_names_the_lost_runner(process_server: Server) -> None:
    with process_server.held():
        process_server.worker("EchoRunner").kill()
        wait_for(lambda: not process_server.is_ready(), "readiness false")
        runners = process_server.get("/readyz").json()["runners"]
        assert runners["echo"][0] is False
        assert runners["sum"][0] is True
        # Requests to the other runner still succeed.
        assert post(process_server).status_code == 200
    process_server.wait_ready()


def test_stopped_runner_delays_no_request_beyond_the_deadline(process_server: Server) -> None:
    runner = process_server.worker("SumRunner")
    # The supervisor replaces a runner that hangs; this is what clients see until then.
    with process_server.held():
        try:
            seen = asyncio.run(load_and(process_server.url, runner.suspend, connections=16, seconds=3))
            assert set(seen.seen) <= {200, 503, 504}, seen.seen
            assert seen.seen[503] + seen.seen[504] > 0
            assert seen.slowest_s < 2 * TIMEOUT_S
            wait_for(lambda: not process_server.is_ready(), "readiness false")
        finally:
            runner.resume()
    process_server.wait_ready()
    assert post(process_server).json()["sums"] == [30.0]


def test_killed_gateway_restarts(process_server: Server) -> None:
    process_server.worker("Gateway").kill()
    wait_for(lambda: is_serving(process_server), "the gateway has restarted")
    assert post(process_server).json()["sums"] == [30.0]


def test_gateway_without_runners_is_live_but_not_ready() -> None:
    unreachable = f"http://127.0.0.1:{free_port()}"
    env = {"OVERHEAD_PLACEMENT": f"{unreachable},{unreachable}"}
    with serving("service:Gateway", folder=PROJECT, env=env, wait=False) as server:
        wait_for(lambda: is_live(server), "the gateway listens")
        assert server.get("/readyz").status_code == 503
        response = post(server)
        assert response.status_code == 503
        assert "retry-after" in response.headers
        assert server.stop() == 0


def is_live(server: Server) -> bool:
    try:
        return server.get("/livez").status_code == 200
    except httpx.TransportError:
        return False

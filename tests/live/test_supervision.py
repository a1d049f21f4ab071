"""Tests of supervision, by `bentoml serve` and by process 1 of the image: restarts, failed starts and SIGTERM."""

from __future__ import annotations

import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from serving.process.restarts import FAILED_STARTS
from tests.live.server import BENTOML_SERVE, END_S, START_S, Server, serving, wait_for

pytestmark = pytest.mark.live

PROJECT = Path(__file__).parent / "projects" / "overhead"
PROGRAMS = {"bentoml serve": BENTOML_SERVE, "supervisor": (sys.executable, "-m", "serving.process.supervisor")}
by_program = pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
# From the death of a process to the start of the next one, without its imports. circus checks every ten seconds.
REPLACED_S = 2.0
ATTEMPTS = 4


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file whose existence ends the held requests."""
    return tmp_path_factory.mktemp("supervision") / "gate"


@pytest.fixture(scope="module", params=PROGRAMS.values(), ids=list(PROGRAMS))
def server(gate: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    gate.unlink(missing_ok=True)
    env = {"OVERHEAD_GATE": str(gate), "OVERHEAD_TIMEOUT_S": "300", "OVERHEAD_GRACE_S": "300"}
    with serving("service:Gateway", folder=PROJECT, program=request.param, env=env) as running:
        yield running


def test_every_service_has_a_process(server: Server) -> None:
    assert server.post("/sum", json=[1.0] * 30).json()["sums"] == [30.0]
    assert {server.worker(name).pid for name in ("SumRunner", "EchoRunner", "Gateway")}


@pytest.mark.parametrize("service", ["SumRunner", "Gateway"])
def test_killed_process_restarts_within_two_seconds(server: Server, service: str) -> None:
    server.wait_ready()
    replaced_s: list[float] = []
    # Also the second time in a row; once more where other load on the machine delayed a start.
    while len(replaced_s) < 2 or (min(replaced_s) >= REPLACED_S and len(replaced_s) < ATTEMPTS):
        killed, started = server.worker(service), time.monotonic()
        killed.kill()
        wait_for(lambda: has_new_process(server, service, killed.pid), f"a new {service}")  # noqa: B023
        replaced_s.append(time.monotonic() - started)
        wait_for(lambda: is_predicting(server), "a prediction of the new process")
        server.wait_ready()
        assert f"(process {killed.pid}) has died, restarting it" in server.log
    assert min(replaced_s) < REPLACED_S


def is_predicting(server: Server) -> bool:
    try:
        return server.post("/sum", json=[1.0] * 30).status_code == 200
    except httpx.TransportError:
        return False


def has_new_process(server: Server, service: str, pid: int) -> bool:
    try:
        return bool(server.worker(service).pid != pid)
    except AssertionError:
        return False


def test_sigterm_finishes_requests_in_flight_and_exits_with_zero(server: Server, gate: Path) -> None:
    """Must be the last test of the shared server: it stops it."""
    server.wait_ready()
    answers: list[int] = []
    caller = threading.Thread(target=lambda: answers.append(server.get("/held").status_code))
    caller.start()
    wait_for(lambda: server.get("/inside").json()["taken"] == 1, "a request in flight")
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: not server.is_ready(), "the gateway refuses new requests")
    gate.touch()
    assert server.process.wait(END_S) == 0
    caller.join()
    assert answers == [200]


@by_program
def test_runner_that_cannot_start_exits_with_one_and_the_reason(program: Sequence[str]) -> None:
    env = {"OVERHEAD_VERSION": "broken"}
    with serving("service:Gateway", folder=PROJECT, env=env, wait=False, program=program) as server:
        assert server.process.wait(START_S) == 1
        assert "ValueError: cannot be loaded" in server.log
        assert server.log.count("SumRunner failed to start") == FAILED_STARTS
        assert "SumRunner cannot start; its log lines above contain the cause" in server.log


@by_program
def test_port_in_use_exits_with_one(program: Sequence[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with serving("service:Gateway", folder=PROJECT, wait=False, program=program, port=port) as server:
            assert server.process.wait(END_S) == 1
            assert "Address already in use" in server.log


def test_two_services_with_one_home_have_metrics_of_their_own(tmp_path: Path) -> None:
    env = {"BENTOML_HOME": str(tmp_path), "OVERHEAD_PLACEMENT": "inline"}
    counted = 'makunouchi_requests_total{method="POST",route="/sum",status="200"} 1.0'
    with serving("service:Gateway", folder=PROJECT, env=env) as first:
        assert first.post("/sum", json=[1.0] * 30).status_code == 200
        wait_for(lambda: counted in first.get("/metrics").text, "the request is counted")
        with serving("service:Gateway", folder=PROJECT, env=env) as second:
            assert counted in first.get("/metrics").text
            assert counted not in second.get("/metrics").text
            assert 'makunouchi_runner_up{runner="sum"} 1.0' in second.get("/metrics").text

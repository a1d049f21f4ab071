"""Tests of a killed parent process: its children finish their requests, exit and free the port."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from tests.live.server import BENTOML_SERVE, serving, wait_for

pytestmark = pytest.mark.live

DEVELOPMENT = (*BENTOML_SERVE, "--development")
PROJECT = Path(__file__).parent / "projects" / "overhead"
SUPERVISOR = (sys.executable, "-m", "serving.process.supervisor")
# Deadlines and grace period are longer than the test.
NO_TIMEOUTS = {"OVERHEAD_TIMEOUT_S": "300", "OVERHEAD_GRACE_S": "300"}


def test_development_server_exits_with_its_parent() -> None:
    with serving("service:Gateway", folder=PROJECT, program=DEVELOPMENT) as server:
        assert len(server.processes()) == 2
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not server.processes(), f"no process left:\n{server.log}")


@pytest.mark.parametrize("program", [BENTOML_SERVE, SUPERVISOR], ids=["bentoml serve", "supervisor"])
def test_requests_in_flight_finish_and_the_port_is_free(program: tuple[str, ...], tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    env = {"OVERHEAD_GATE": str(gate), **NO_TIMEOUTS}
    with serving("service:Gateway", folder=PROJECT, program=program, env=env) as server:
        assert len(server.processes()) >= 4
        answers: list[int] = []
        caller = threading.Thread(target=lambda: answers.append(server.get("/held").status_code))
        caller.start()
        wait_for(lambda: server.get("/inside").json()["taken"] == 1, "a request in flight")
        server.process.kill()
        server.process.wait()
        wait_for(lambda: f"({server.process.pid}) has died: exiting" in server.log, "a child detects the lost parent")
        wait_for(lambda: not server.is_ready(), "the gateway refuses new requests")
        gate.touch()
        caller.join()
        assert answers == [200]
        wait_for(lambda: not server.processes(), f"no process left:\n{server.log}")
        assert not list(server.temporary.glob("bentoml-*"))

        with serving("service:Gateway", folder=PROJECT, program=program, port=server.port) as second:
            assert second.post("/sum", json=[1.0] * 30).json()["sums"] == [30.0]
            assert second.stop() == 0


def test_starting_processes_exit_with_their_parent() -> None:
    with serving("service:Gateway", folder=PROJECT, wait=False) as server:
        wait_for(lambda: len(server.processes()) >= 4, "every process")
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not server.processes(), f"no process left:\n{server.log}")

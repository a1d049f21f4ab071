"""Whatever starts and watches the processes is killed: they answer what they have begun, end, and leave the port."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from tests.live.server import BENTOML_SERVE, serving, wait_for

pytestmark = pytest.mark.live

DEVELOPMENT = (*BENTOML_SERVE, "--development")
PROJECT = Path(__file__).parent / "projects" / "overhead"
SUPERVISION = (sys.executable, "-m", "serving.process.supervisor")
# The gateway answers what it holds for as long as the test wants.
PATIENT = {"OVERHEAD_TIMEOUT_S": "300", "OVERHEAD_GRACE_S": "300"}


def test_in_development_the_service_ends_too() -> None:
    with serving("service:Gateway", folder=PROJECT, program=DEVELOPMENT) as server:
        assert len(server.processes()) == 2
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not server.processes(), f"no process left:\n{server.log}")


@pytest.mark.parametrize("program", [BENTOML_SERVE, SUPERVISION], ids=["bentoml serve", "supervision"])
def test_what_is_in_flight_is_answered_then_the_port_is_free(program: tuple[str, ...], tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    env = {"OVERHEAD_GATE": str(gate), **PATIENT}
    with serving("service:Gateway", folder=PROJECT, program=program, env=env) as server:
        assert len(server.processes()) >= 4
        answers: list[int] = []
        caller = threading.Thread(target=lambda: answers.append(server.get("/held").status_code))
        caller.start()
        wait_for(lambda: server.get("/inside").json()["taken"] == 1, "a request in flight")
        server.process.kill()
        server.process.wait()
        wait_for(lambda: f"({server.process.pid}) has died: exiting" in server.log, "somebody has noticed")
        wait_for(lambda: not server.is_ready(), "the gateway takes nothing new")
        gate.touch()
        caller.join()
        assert answers == [200]
        wait_for(lambda: not server.processes(), f"no process left:\n{server.log}")
        assert not list(server.temporary.glob("bentoml-*"))

        with serving("service:Gateway", folder=PROJECT, program=program, port=server.port) as again:
            assert again.post("/sum", json=[1.0] * 30).json()["sums"] == [30.0]
            assert again.stop() == 0


def test_processes_that_are_still_starting_end_too() -> None:
    with serving("service:Gateway", folder=PROJECT, wait=False) as server:
        wait_for(lambda: len(server.processes()) >= 4, "every process")
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not server.processes(), f"no process left:\n{server.log}")

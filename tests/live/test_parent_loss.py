"""Whatever starts and watches the processes is killed: they answer what they have begun, end, and leave the port."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import httpx
import pytest

from tests.live.server import BENTOML_SERVE, Server, serving, wait_for

pytestmark = pytest.mark.live

PROJECT = Path(__file__).parent / "projects" / "overhead"
SUPERVISION = (sys.executable, "-m", "serving.supervision")
# One look a second, and a gateway that lets go of its runners.
ENDS_S = 15.0


@pytest.mark.parametrize("program", [BENTOML_SERVE, SUPERVISION], ids=["bentoml serve", "supervision"])
def test_what_is_in_flight_is_answered_then_the_port_is_free(program: tuple[str, ...]) -> None:
    with serving("service:Gateway", folder=PROJECT, program=program) as server:
        assert len(server.processes()) >= 4
        answers: list[int] = []
        caller = threading.Thread(target=lambda: answers.append(slow(server)))
        caller.start()
        wait_for(lambda: httpx.get(f"{server.url}/inside", timeout=30).json()["taken"] == 1, "a request in flight")
        server.process.kill()
        server.process.wait()
        caller.join()
        assert answers == [200]
        wait_for(lambda: not server.processes(), f"no process left:\n{server.log}", timeout_s=ENDS_S)
        assert f"({server.process.pid}) is gone: ending" in server.log

        with serving("service:Gateway", folder=PROJECT, program=program, port=server.port) as again:
            assert httpx.post(f"{again.url}/sum", json=[1.0] * 30, timeout=30).json()["sums"] == [30.0]
            assert again.stop() == 0


def slow(server: Server) -> int:
    return httpx.get(f"{server.url}/slow/3", timeout=30).status_code


def test_processes_that_are_still_starting_end_too() -> None:
    with serving("service:Gateway", folder=PROJECT, wait=False) as server:
        wait_for(lambda: len(server.processes()) >= 4, "every process", timeout_s=60)
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not server.processes(), f"no process left:\n{server.log}", timeout_s=60)

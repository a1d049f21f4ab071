"""Tests of what other users of the host can reach: the port of the service, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tests.live.server import BENTOML_SERVE, Server, serving

pytestmark = pytest.mark.live

PROJECT = Path(__file__).parent / "projects" / "overhead"
PROGRAMS = {
    "bentoml serve": BENTOML_SERVE,
    "supervisor": (sys.executable, "-m", "serving.process.supervisor"),
    "reload": (*BENTOML_SERVE, "--reload"),
}
NOBODY = 65534
# Prints the error of a connection to each unix socket among the arguments.
CONNECTS = """
import socket, sys
for path in sys.argv[1:]:
    try:
        socket.socket(socket.AF_UNIX).connect(path)
    except OSError as error:
        print(type(error).__name__)
    else:
        print("connected")
"""


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_only_the_port_of_the_service_is_open(program: Sequence[str]) -> None:
    # No writing of bytecode: a change of a file would reload.
    with serving("service:Gateway", folder=PROJECT, program=program, env={"PYTHONDONTWRITEBYTECODE": "1"}) as server:
        processes = [psutil.Process(server.process.pid), *server.processes()]
        assert {port for each in processes for port in listening_ports(each)} == {server.port}

        # The folder of the test is private, and would protect the sockets too.
        server.temporary.chmod(0o755)
        sockets = [path for path in server.temporary.rglob("*") if path.is_socket()]
        assert len(sockets) == (4 if "--reload" in program else 2)
        assert {path.parent.stat().st_mode & 0o777 for path in sockets} == {0o700}
        assert abstract_sockets(processes) == []
        if os.getuid() == 0:
            assert connections(sockets, user=0) == ["connected"] * len(sockets)
            assert connections(sockets, user=NOBODY) == ["PermissionError"] * len(sockets)
        assert server.stop() == 0
        assert left_over(server) == []


def listening_ports(process: psutil.Process) -> list[int]:
    return [each.laddr.port for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN]


def abstract_sockets(processes: list[psutil.Process]) -> list[str]:
    """Return the addresses that have no file, and therefore no permissions."""
    return [each.laddr for process in processes for each in process.net_connections("unix") if each.laddr[:1] == "@"]


def connections(sockets: list[Path], *, user: int) -> list[str]:
    # Another user may not execute the Python of the project.
    command = [sys.executable if user == 0 else "/usr/bin/python3", "-c", CONNECTS, *map(str, sockets)]
    done = subprocess.run(command, user=user, capture_output=True, text=True, check=True, cwd="/")
    return done.stdout.split()


def left_over(server: Server) -> list[str]:
    return [path.name for path in server.temporary.iterdir() if path.is_dir() and path.name != "home"]

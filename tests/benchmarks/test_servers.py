from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.servers import Server, free_port

# A process whose grandchild leaves the session, like the processes of Ray.
CODE = """
import subprocess, sys, time
child = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], " \\
    "start_new_session=True); print('ready', flush=True); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", child])
time.sleep(600)
"""


def start(tmp_path: Path, code: str = CODE) -> Server:
    return Server([sys.executable, "-c", code], env=dict(os.environ), folder=tmp_path, log=tmp_path / "log.txt")


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "absent"


def test_all_processes_of_a_server_are_paused_resumed_and_stopped(tmp_path: Path) -> None:
    server = start(tmp_path)
    try:
        wait_until(lambda: len(server.processes()) == 3)
        pids = [process.pid for process in server.processes()]
        server.pause()
        wait_until(lambda: all(state(pid) == "T" for pid in pids))
        server.resume()
        wait_until(lambda: all(state(pid) in "SR" for pid in pids))
    finally:
        server.stop()
    assert all(state(pid) in ("Z", "absent") for pid in pids)
    assert not server.is_alive()


def test_temporary_files_of_a_killed_server_are_deleted(tmp_path: Path) -> None:
    server = start(tmp_path, "import tempfile, time; print(tempfile.mkdtemp(), flush=True); time.sleep(60)")
    wait_until(lambda: bool(server.log_tail().strip()))
    folder = Path(server.log_tail().strip())
    assert folder.is_dir()
    server.stop()
    assert not folder.exists()


def test_a_paused_server_can_be_stopped(tmp_path: Path) -> None:
    server = start(tmp_path, "import time; time.sleep(600)")
    server.pause()
    server.stop()
    assert not server.is_alive()


def test_memory_is_measured_by_process(tmp_path: Path) -> None:
    server = start(tmp_path)
    try:
        wait_until(lambda: len(server.memory()) == 3 and all(server.memory().values()))
        assert sum(server.memory().values()) > 1 << 20
    finally:
        server.stop()


def test_the_command_and_the_environment_contain_the_port(tmp_path: Path) -> None:
    code = "import os, sys; print(sys.argv[1] == os.environ['PORT'])"
    server = Server(
        [sys.executable, "-c", code, "{port}"], env=dict(os.environ), folder=tmp_path, log=tmp_path / "log.txt"
    )
    wait_until(lambda: not server.is_alive())
    server.stop()
    assert server.log_tail() == "True\n"


def test_a_free_port_is_not_privileged() -> None:
    assert 1024 <= free_port() <= 65535

"""The fork server: what a forked process has in common with a new interpreter, and when one is started instead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from tests.live.server import ROOT, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are used on Linux only")

# Prints what `reports.py` sees of its process, once for each command of standard input.
STARTS = """
import json, os, socket, sys, time
sys.path.insert(0, {folder!r})
import numpy.random, prometheus_client, psutil, reports
from serving.process.fork_server import ForkServer
listening = socket.create_server(("127.0.0.1", 0))
server = ForkServer.start()
other = socket.socket()
for line in sys.stdin:
    call = json.loads(line)
    if call == "kill":
        for child in psutil.Process().children():
            child.kill()
        time.sleep(0.2)
        continue
    command = ["reports", *call["arguments"], "--fd", str(listening.fileno())]
    process = server.fork(command, env={{**os.environ, **call.get("env", {{}})}}, cwd={folder!r})
    if process is None:
        print("null", flush=True)
        continue
    pid = process.pid
    while (code := process.poll()) is None:
        time.sleep(0.01)
    print(json.dumps([os.getpid(), pid, code, listening.getsockname()[1]]), flush=True)
"""
REPORTS = """
import json, os, random, socket, sys, threading
import numpy as np
if __name__ == "__main__":
    listening = socket.socket(fileno=int(sys.argv[sys.argv.index("--fd") + 1]))
    if "fails" in sys.argv:
        raise ValueError("the text of an error")
    if "exits" in sys.argv:
        sys.exit("the text of an exit")
    if "thread" in sys.argv:
        threading.Timer(0.3, lambda: open("thread", "w").close()).start()
    import prometheus_client, reports
    report = {
        "parent": os.getppid(), "session": os.getsid(0), "pid": os.getpid(), "folder": os.getcwd(),
        "word": os.environ.get("WORD"), "arguments": sys.argv[1:], "input": os.readlink("/proc/self/fd/0"),
        "port": listening.getsockname()[1], "random": [random.random(), np.random.random()],
        "text": reports.TEXT, "metrics": prometheus_client.values.ValueClass.__name__,
        "files": sorted({os.readlink(f"/proc/self/fd/{fd}").split(":")[0] for fd in range(3, 12)
                         if os.path.exists(f"/proc/self/fd/{fd}") and os.fstat(fd).st_mode & 0o140000 == 0o140000}),
        "title": open("/proc/self/cmdline").read().rstrip("\\0 "),
        "shown": "PATH=" in open("/proc/self/environ").read(),
    }
    with open("report.json", "w") as file:
        json.dump(report, file)
TEXT = "first"
"""


class Parent:
    """A process with a fork server, whose forks run the module `reports` in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "reports.py").write_text(REPORTS)
        environment = {**os.environ, "SPT_NOENV": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        with (folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", STARTS.format(folder=str(folder))], cwd=ROOT, env=environment,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip

    def send(self, call: Any) -> None:  # Any: JSON
        assert self.process.stdin is not None
        self.process.stdin.write(f"{json.dumps(call)}\n")
        self.process.stdin.flush()

    def fork(self, *arguments: str, **env: str) -> Any:  # Any: JSON
        """Return process ids of the parent and the fork, its exit code, and the port of the passed socket."""
        assert self.process.stdout is not None
        self.send({"arguments": arguments, "env": env})
        return json.loads(self.process.stdout.readline())

    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads((self.folder / "report.json").read_text())
        return report

    def log(self) -> str:
        return (self.folder / "log").read_text()


@pytest.fixture
def parent(tmp_path: Path) -> Any:  # Any: a generator
    parent = Parent(tmp_path)
    yield parent
    parent.process.kill()
    parent.process.communicate()


def test_a_fork_has_the_environment_arguments_and_parent_of_a_new_interpreter(parent: Parent, tmp_path: Path) -> None:
    environment = {"WORD": "a word", "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    pid, child, code, port = parent.fork("--service-name", "ImageRunner", **environment)
    report = parent.report()
    assert code == 0
    assert (report["pid"], report["parent"], report["session"]) == (child, pid, child)
    assert (report["folder"], report["word"], report["port"]) == (str(tmp_path), "a word", port)
    assert report["arguments"][:3] == ["--service-name", "ImageRunner", "--fd"]
    assert report["input"] == os.devnull
    assert report["files"] == ["socket"]
    assert report["title"] == "bentoml: ImageRunner"
    assert report["shown"]
    assert report["metrics"] == "MmapedValue"


def test_two_forks_draw_different_random_numbers(parent: Parent) -> None:
    parent.fork()
    first = parent.report()["random"]
    parent.fork()
    second = parent.report()["random"]
    assert len({*first, *second}) == 4


def test_a_module_of_the_user_is_imported_again(parent: Parent, tmp_path: Path) -> None:
    parent.fork()
    assert parent.report()["text"] == "first"
    (tmp_path / "reports.py").write_text(REPORTS.replace("first", "second, longer"))
    parent.fork()
    assert parent.report()["text"] == "second, longer"


def test_the_exit_of_a_fork_is_that_of_an_interpreter(parent: Parent, tmp_path: Path) -> None:
    assert parent.fork("fails")[2] == 1
    assert "ValueError: the text of an error" in parent.log()
    assert parent.fork("exits")[2] == 1
    assert "the text of an exit" in parent.log()
    assert parent.fork("thread")[2] == 0
    assert (tmp_path / "thread").exists()


def test_other_bounds_of_threads_need_a_new_interpreter(parent: Parent) -> None:
    assert parent.fork(OMP_NUM_THREADS="3") is None


def test_without_its_fork_server_a_new_interpreter_is_needed(parent: Parent) -> None:
    assert parent.fork()[2] == 0
    parent.send("kill")
    assert parent.fork() is None
    assert "no process can be forked, an interpreter is started instead: BrokenPipeError" in parent.log()


def test_the_fork_server_ends_with_its_parent(parent: Parent) -> None:
    parent.fork()
    servers = psutil.Process(parent.process.pid).children()
    assert ["".join(each.cmdline()) for each in servers] == ["bentoml: fork server"]
    parent.process.kill()
    wait_for(lambda: not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in servers), "ended")


@pytest.mark.parametrize(
    "first",
    [
        "import threading, time; threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
        "import zmq; context = zmq.Context(); context.socket(zmq.PUB)",
    ],
    ids=["of Python", "of a library"],
)
def test_a_process_with_threads_has_no_fork_server(first: str) -> None:
    program = f"{first}\nfrom serving.process.fork_server import ForkServer\nassert ForkServer.start() is None"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)

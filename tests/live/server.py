"""A real `bentoml serve` in a subprocess, which is killed at the end of its block."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]

ROOT = Path(__file__).parent.parent.parent
# Limits that end a test that hangs. They are far above the usual times, for machines under load.
START_S = 240.0
ANSWER_S = 120.0
END_S = 120.0
BENTOML_SERVE = (str(Path(sys.executable).parent / "bentoml"), "serve")
_MARK = "LIVE_SERVER"


class Server:
    """A running service. `url` is its address; `log` is the output of all its processes."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self._scratch = log.parent
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def is_ready(self) -> bool:
        """Return whether `/readyz` answers 200."""
        try:
            return self.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str, **options: Any) -> httpx.Response:  # Any: options of httpx
        """Send a GET request over a new connection."""
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:  # Any: options of httpx
        """Send a POST request over a new connection."""
        return self.request("POST", path, **options)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:  # Any: options of httpx
        """Send a request over a new connection, with a long timeout."""
        return httpx.request(method, self.url + path, **{"timeout": ANSWER_S, **options})

    def wait_ready(self, *, timeout_s: float = START_S) -> None:
        """Wait until `/readyz` answers 200. Raise AssertionError with the log after `timeout_s`."""
        until = time.monotonic() + timeout_s
        while not self.is_ready():
            assert self.process.poll() is None, f"the server ended with {self.process.returncode}:\n{self.log}"
            assert time.monotonic() < until, f"not ready after {timeout_s} s:\n{self.log}"
            time.sleep(0.1)

    def worker(self, service: str) -> psutil.Process:
        """Return the process of the service with this name."""
        for process in psutil.Process(self.process.pid).children():
            if service_name(process) == service:
                return process
        raise AssertionError(f"no process of {service}")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Suspend the parent process, so that no killed process restarts before the end of the block."""
        arbiter = psutil.Process(self.process.pid)
        arbiter.suspend()
        try:
            yield
        finally:
            arbiter.resume()

    @property
    def temporary(self) -> Path:
        """The temporary folder of the processes. It also holds the log."""
        return self._scratch

    def processes(self) -> list[psutil.Process]:
        """Return all running processes of the service, including orphans."""
        return _marked(str(self._scratch))

    def stop(self) -> int:
        """Send SIGTERM, wait and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(END_S)


def service_name(process: psutil.Process) -> str | None:
    """Return the name of the BentoML service of a process, or None. A fork has a title, an interpreter arguments."""
    with contextlib.suppress(psutil.Error):
        arguments = process.cmdline()
        if "--service-name" in arguments:
            return str(arguments[arguments.index("--service-name") + 1])
        title, _, name = " ".join(arguments).rstrip().partition(": ")
        if title == "bentoml":
            return name
    return None


@contextlib.contextmanager
def serving(
    target: str,
    *,
    folder: Path = ROOT,
    env: Mapping[str, str] | None = None,
    wait: bool = True,
    output: Path | None = None,
    program: Sequence[str] = BENTOML_SERVE,
    port: int | None = None,
) -> Iterator[Server]:
    """Run `bentoml serve <target>` in `folder`, on `port` or a free one, with `env` added to a clean environment.

    `program` replaces `bentoml serve`. The output goes to `output` if given, otherwise to the log. The platform's
    modules are importable from every folder. All processes are killed at the end of the block.
    """
    with tempfile.TemporaryDirectory(prefix="live-") as scratch:
        port, log = port or free_port(), Path(scratch) / "log"
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKUNOUCHI_", "BENTOML_"))}
        for name in ("BENTOML_HOME", "MAKUNOUCHI_CACHE"):
            if name in os.environ:
                clean[name] = os.environ[name]
        clean |= {
            "BENTOML_DO_NOT_TRACK": "True",
            "BENTOML_HOME": clean.get("BENTOML_HOME", str(Path(scratch) / "home")),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            # Killed processes leave files in the temporary folder.
            "TMPDIR": scratch,
            _MARK: scratch,
            **(env or {}),
        }
        command = [*program, target, "--port", str(port)]
        log.touch()
        with (output or log).open("wb") as stream:
            process = subprocess.Popen(
                [*command, "--host", "127.0.0.1"],
                cwd=folder, env=clean, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        server = Server(process, port, log)
        try:
            if wait:
                server.wait_ready()
            yield server
        finally:
            _kill_all(scratch)
            process.wait(END_S)


def wait_for(condition: Callable[[], bool], what: str, *, timeout_s: float = END_S) -> None:
    """Wait until `condition` holds. Raise AssertionError after `timeout_s`."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, f"not within {timeout_s} s: {what}"
        time.sleep(0.05)


def free_port() -> int:
    """Return a free TCP port of the loopback interface that the system assigns to no other process for a minute.

    A connection that the server side closes first leaves the port in TIME_WAIT. The system does not choose such a
    port, also not for a parallel test run, but a server can still bind it by number (SO_REUSEADDR).
    """
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.connect(listener.getsockname())
        listener.accept()[0].close()
        return int(listener.getsockname()[1])


def _kill_all(mark: str) -> None:
    """Kill every process whose environment has `mark`. Workers run in other sessions and survive a killed parent.

    Repeat until no process is left, because a parent can start a process while the others are killed.
    """
    until = time.monotonic() + END_S
    while processes := _marked(mark):
        assert time.monotonic() < until, f"processes survive SIGKILL: {processes}"
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.02)


def _marked(mark: str) -> list[psutil.Process]:
    processes = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.environ().get(_MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                processes.append(process)
    return processes

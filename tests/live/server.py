"""A real `bentoml serve` in a subprocess: started, waited for, stopped, and never left behind."""

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
# Limits that end a test which hangs: far above what anything takes, for a machine that is busy with other things.
START_S = 240.0
ANSWER_S = 120.0
END_S = 120.0
BENTOML_SERVE = (str(Path(sys.executable).parent / "bentoml"), "serve")
_MARK = "LIVE_SERVER"


class Server:
    """A running service. `url` is its address; `log` is everything that its processes wrote."""

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
        """Whether `/readyz` answers 200 now."""
        try:
            return self.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str, **more: Any) -> httpx.Response:  # Any: what httpx takes
        """GET a path of it, over a connection of its own."""
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:  # Any: what httpx takes
        """POST to a path of it."""
        return self.request("POST", path, **more)

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:  # Any: what httpx takes
        """What httpx answers to `request`, given time enough."""
        return httpx.request(method, self.url + path, **{"timeout": ANSWER_S, **more})

    def wait_ready(self, *, timeout_s: float = START_S) -> None:
        """Return when `/readyz` answers 200. Raises AssertionError, with the log, when it does not."""
        until = time.monotonic() + timeout_s
        while not self.is_ready():
            assert self.process.poll() is None, f"the server ended with {self.process.returncode}:\n{self.log}"
            assert time.monotonic() < until, f"not ready after {timeout_s} s:\n{self.log}"
            time.sleep(0.1)

    def worker(self, service: str) -> psutil.Process:
        """The process of one service, by the service's name."""
        for process in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):
                arguments = process.cmdline()
                if "--service-name" in arguments and arguments[arguments.index("--service-name") + 1] == service:
                    return process
        raise AssertionError(f"no process of {service}")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Whatever dies in the block is started again at its end, and no sooner."""
        arbiter = psutil.Process(self.process.pid)
        arbiter.suspend()
        try:
            yield
        finally:
            arbiter.resume()

    @property
    def temporary(self) -> Path:
        """The temporary folder of its processes; its log lies there too."""
        return self._scratch

    def processes(self) -> list[psutil.Process]:
        """The processes that run now, wherever they hang in the tree."""
        return _marked(str(self._scratch))

    def stop(self) -> int:
        """Send SIGTERM and wait. Gives the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(END_S)


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
    """`bentoml serve <target>` run in `folder` on `port`, or a free one, with `env` added to a clean environment.

    `program` is what takes the target instead. What it writes goes to `output` instead of its log when one is given.
    The platform's own modules are importable whatever the folder. Its processes are killed at the end, all of them.
    """
    with tempfile.TemporaryDirectory(prefix="live-") as scratch:
        port, log = port or free_port(), Path(scratch) / "log"
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKUNOUCHI_", "BENTOML_"))}
        for kept in ("BENTOML_HOME", "MAKUNOUCHI_CACHE"):
            if kept in os.environ:
                clean[kept] = os.environ[kept]
        clean |= {
            "BENTOML_DO_NOT_TRACK": "True",
            "BENTOML_HOME": clean.get("BENTOML_HOME", str(Path(scratch) / "home")),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            # What killed processes leave in the temporary folder.
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
    """Return when `condition` holds. Raises AssertionError when it never does."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, f"not within {timeout_s} s: {what}"
        time.sleep(0.05)


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on, and that nobody is given for a minute.

    A connection that this side has closed first keeps it that long from all who let the system choose; whoever asks
    for it by number, as a server does, gets it all the same.
    """
    with socket.create_server(("127.0.0.1", 0)) as door, socket.socket() as caller:
        caller.connect(door.getsockname())
        door.accept()[0].close()
        return int(door.getsockname()[1])


def _kill_all(mark: str) -> None:
    """Kill every process that carries `mark`: workers lead sessions of their own, and outlive a killed arbiter.

    Again until there is none: an arbiter may be starting one while the others are killed.
    """
    until = time.monotonic() + END_S
    while left := _marked(mark):
        assert time.monotonic() < until, f"not to be killed: {left}"
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.02)


def _marked(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.environ().get(_MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found

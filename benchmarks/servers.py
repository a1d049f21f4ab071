"""A server as a group of processes: start on a free port, pause, resume, memory, stop.

All servers of a scenario run at the same time, so that rounds can alternate. Servers that are not measured are paused
with SIGSTOP and use no CPU.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import uuid4

import psutil  # type: ignore[import-untyped]

# An environment variable that every descendant inherits, also one that leaves the session of the server.
_ID_VARIABLE = "BENCH_SERVER_ID"
_STOP_S = 5.0
_ENDED = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)


class Server:
    """A running server with all processes that it starts, directly or indirectly."""

    def __init__(
        self, command: Sequence[str], *, env: Mapping[str, str], folder: Path, log: Path, port: int | None = None
    ) -> None:
        self.port = port or free_port()
        self.log = log
        self._id = uuid4().hex
        self._known: set[psutil.Process] = set()
        # A server that is killed does not delete its sockets, settings and sessions.
        self._temporary = tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [part.replace("{port}", str(self.port)) for part in command],
                env={**env, "PORT": str(self.port), "TMPDIR": self._temporary.name, _ID_VARIABLE: self._id},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def processes(self) -> list[psutil.Process]:
        """Return the processes of the server in order of their ids.

        These are the processes with its id in their environment, their descendants, and those of earlier calls.
        """
        processes = set(self._known)
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid == self._process.pid or process.environ().get(_ID_VARIABLE) == self._id:
                    processes |= {process, *process.children(recursive=True)}
        self._known = {process for process in processes if process.is_running()}
        return sorted(self._known, key=lambda process: process.pid)

    def pause(self) -> None:
        """Suspend all processes with SIGSTOP."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume all processes with SIGCONT."""
        self._signal(signal.SIGCONT)

    def memory(self) -> dict[str, int]:
        """Return the proportional set size (PSS) in bytes of each process by "command pid"."""
        sizes = {}
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                sizes[f"{_command(process)} {process.pid}"] = int(process.memory_full_info().pss)
        return sizes

    def stop(self) -> None:
        """Terminate the server, kill the processes that are left after 5 s, and delete its temporary files."""
        self.resume()
        if self.is_alive():
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_S)
        deadline = time.monotonic() + _STOP_S
        while self._has_processes() and time.monotonic() < deadline:
            self._signal(signal.SIGKILL)
            self._process.poll()
            time.sleep(0.05)
        self._temporary.cleanup()

    def log_tail(self, characters: int = 600) -> str:
        """Return the end of the output of the server."""
        return self.log.read_text(errors="replace")[-characters:] if self.log.is_file() else ""

    def _has_processes(self) -> bool:
        return any(_status(process) not in _ENDED for process in self.processes())

    def _signal(self, number: signal.Signals) -> None:
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)


def free_port() -> int:
    """Return a port of the loopback address that is not in use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _status(process: psutil.Process) -> str:
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return str(psutil.STATUS_DEAD)


def _command(process: psutil.Process) -> str:
    words = [Path(part).name for part in process.cmdline()[:4] if part and not part.startswith("-")]
    return " ".join(words)[:60]

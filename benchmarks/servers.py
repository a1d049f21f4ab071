"""A server as the group of processes that it is: started on a free port, paused, weighed, killed. Knows no HTTP route.

All servers of a scenario are up at the same time, so that rounds can alternate; those that are not measured are
stopped with SIGSTOP and take no CPU from the one that is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

_MARK = "BENCH_MARK"
_STOP_S = 5.0


class Server:
    """One running server. Every process that it starts, however far removed, belongs to it."""

    def __init__(
        self, command: Sequence[str], *, env: Mapping[str, str], folder: Path, log: Path, port: int | None = None
    ) -> None:
        self.port = port or free_port()
        self.log = log
        self._mark = uuid.uuid4().hex
        self._seen: dict[int, str] = {}
        # Servers that are killed leave sockets, settings and sessions behind.
        self._temporary = tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True)
        log.parent.mkdir(parents=True, exist_ok=True)
        placed = [part.replace("{port}", str(self.port)) for part in command]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                placed,
                env={**env, "PORT": str(self.port), "TMPDIR": self._temporary.name, _MARK: self._mark},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def processes(self) -> list[int]:
        """Ids of its processes: those with its mark in their environment, their descendants, and any seen before."""
        parents = _parents()
        found = {pid for pid in parents if _has_mark(pid, self._mark)} | {self._process.pid}
        grown = True
        while grown:
            more = {pid for pid, parent in parents.items() if parent in found} - found
            found |= more
            grown = bool(more)
        self._seen = {pid: since for pid, since in self._seen.items() if _started(pid) == since}
        self._seen |= {pid: since for pid in found if (since := _started(pid))}
        return sorted(self._seen)

    def pause(self) -> None:
        """Stop all its processes where they are."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def memory(self) -> dict[str, int]:
        """Proportional set size in bytes of every process, by "name pid". Shared pages are split among their users."""
        found = {}
        for pid in self.processes():
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                size = next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
                found[f"{_command(pid)} {pid}"] = size * 1024
        return found

    def cpu_s(self) -> float:
        """Seconds of CPU that its living processes have used."""
        ticks = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End it, politely first, and leave no process and no temporary file of it behind."""
        self.resume()
        if self.is_alive():
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_S)
        deadline = time.monotonic() + _STOP_S
        while self._living() and time.monotonic() < deadline:
            self._signal(signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.05)
            time.sleep(0.05)
        self._temporary.cleanup()

    def log_tail(self, characters: int = 600) -> str:
        """The end of what it printed."""
        return self.log.read_text(errors="replace")[-characters:] if self.log.is_file() else ""

    def _living(self) -> list[int]:
        return [pid for pid in self.processes() if _state(pid) not in ("Z", "X", "")]

    def _signal(self, number: int) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)


def free_port() -> int:
    """A port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _parents() -> dict[int, int]:
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))):
            found[int(entry)] = int(fields[1])
    return found


def _started(pid: int) -> str:
    fields = _stat(pid)
    return fields[19] if fields else ""


def _state(pid: int) -> str:
    fields = _stat(pid)
    return fields[0] if fields else ""


def _has_mark(pid: int, mark: str) -> bool:
    try:
        return f"{_MARK}={mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def _command(pid: int) -> str:
    try:
        parts = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return "?"
    words = [Path(part.decode(errors="replace")).name for part in parts[:4] if part and not part.startswith(b"-")]
    return " ".join(words)[:60]

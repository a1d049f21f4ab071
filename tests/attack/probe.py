"""Probe of `/livez` and of memory, a separate process: `python -m tests.attack.probe PORT PID FILE`.

It appends a JSON line for each request: when it was sent (monotonic clock), the time of the response, the processor
time that the gateway used until then, the status (0: no response), and the memory of the processes by name.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tests.live import server

EVERY_S = 0.02
MEMORY_EVERY_S = 0.1
TIMEOUT_S = 60.0
GATEWAY, CHILD = "Gateway", "child"


@dataclass(frozen=True, slots=True)
class Sample:
    """One request. `held_s` is the processor time of the gateway during it, at most its duration."""

    sent_s: float
    took_s: float
    held_s: float
    status: int
    memory_mb: dict[str, float] = field(default_factory=dict)


class Probe:
    """The samples of a probe process of a server."""

    def __init__(self, process: subprocess.Popen[bytes], file: Path) -> None:
        self._process = process
        self._file = file
        self._position = 0
        self._known: list[Sample] = []

    def between(self, begin_s: float, end_s: float) -> list[Sample]:
        """Return the samples that overlap a period of the monotonic clock, after the last of them is complete."""
        until = time.monotonic() + TIMEOUT_S
        while not (samples := self._samples()) or samples[-1].sent_s < end_s:
            if self._process.poll() is not None or time.monotonic() > until:
                break
            time.sleep(EVERY_S)
        return [each for each in samples if each.sent_s < end_s and each.sent_s + each.took_s > begin_s]

    def _samples(self) -> list[Sample]:
        """Return all samples so far. Only new lines of the file are read."""
        if self._file.exists():
            with self._file.open("rb") as stream:
                stream.seek(self._position)
                lines = stream.read().splitlines(keepends=True)
            complete = [line for line in lines if line.endswith(b"\n")]
            self._position += sum(map(len, complete))
            self._known += [Sample(**json.loads(line)) for line in complete]
        return self._known

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def probing(port: int, pid: int, file: Path) -> Iterator[Probe]:
    """Probe the server with this port and parent process until the end of the block."""
    command = [sys.executable, "-m", "tests.attack.probe", str(port), str(pid), str(file)]
    probe = Probe(subprocess.Popen(command), file)
    try:
        yield probe
    finally:
        probe.end()


def service_name(process: psutil.Process) -> str:
    """Return the name of the BentoML service of a worker, and CHILD for any other process."""
    return server.service_name(process) or CHILD


def _memory_mb(parent: int) -> tuple[dict[str, float], psutil.Process | None]:
    """Return the largest resident memory by name, and the gateway."""
    memory: dict[str, float] = {}
    gateway = None
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(parent).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                name, size_mb = service_name(process), process.memory_info().rss / 2**20
                memory[name] = max(memory.get(name, 0.0), round(size_mb, 1))
                gateway = process if name == GATEWAY else gateway
    return memory, gateway


def _cpu_s(process: psutil.Process | None) -> float:
    with contextlib.suppress(psutil.Error):
        if process is not None:
            times = process.cpu_times()
            return float(times.user + times.system)
    return 0.0


def _status(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def main(port: int, parent: int, file: Path) -> None:
    """Probe until killed."""
    memory: dict[str, float] = {}
    gateway, memory_due_s = None, 0.0
    with file.open("a", buffering=1) as stream:
        while True:
            if time.monotonic() >= memory_due_s:
                memory, gateway = _memory_mb(parent)
                memory_due_s = time.monotonic() + MEMORY_EVERY_S
            sent_s, cpu_s = time.monotonic(), _cpu_s(gateway)
            status = _status(port)
            took_s = time.monotonic() - sent_s
            held_s = min(took_s, max(0.0, _cpu_s(gateway) - cpu_s))
            row = {"sent_s": sent_s, "took_s": took_s, "held_s": held_s, "status": status, "memory_mb": memory}
            stream.write(json.dumps(row) + "\n")
            time.sleep(EVERY_S)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))

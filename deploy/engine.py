"""The container engine of this machine: docker, podman or buildah.

Where the machine's own configuration cannot run containers (a build machine without a user session, cgroups in hybrid
mode, a limit on open files), a private configuration with its own storage and limits is used. Environment variables
select it, so no file of the machine changes.
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
    """No container engine of this machine answers. The message gives the reason for each."""


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that answered the probe. `environment` is added to the environment of every call."""

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, stdin: bytes | None = None, timeout_s: float = 1800.0) -> str:
        """Run the engine with `arguments` and return its standard output. Raises CalledProcessError."""
        return self._output(arguments, stdin, timeout_s).decode()

    def build(self, folder: Path, *, tag: str, file: Path, options: Sequence[str] = ()) -> None:
        """Build `file` with `folder` as its context, in docker's image format: the OCI format has no health check."""
        # Without layers the build leaves only the image behind.
        image_format = [] if self.name == "docker" else ["--format", "docker", "--layers=false"]
        # The build needs no network: its files are in the folder or in the base image.
        network = [] if self.name == "docker" else ["--network", "none"]
        self.run("build", "--quiet", *image_format, *network, *options, "--tag", tag, "--file", str(file), str(folder))

    def run_in(self, image: str, command: Sequence[str], *, stdin: bytes = b"") -> bytes:
        """Run `command` in a container of `image`, without network or a writable root; return its standard output."""
        if self.name == "buildah":
            container = self.run("from", image).strip()
            try:
                return self._output(["run", "--network", "none", container, "--", *command], stdin)
            finally:
                self.run("rm", container)
        isolation = ["--network", "none", "--read-only", "--tmpfs", "/data"]
        program, *arguments = command
        options = ["--rm", "--interactive", *isolation, "--entrypoint", program]
        return self._output(["run", *options, image, *arguments], stdin)

    def has_image(self, tag: str) -> bool:
        """Return whether an image of this name is in the engine's storage."""
        inspect = ["inspect", "--type", "image"] if self.name == "buildah" else ["image", "inspect"]
        done = subprocess.run(  # noqa: S603
            [self.name, *inspect, tag], env=self.whole_environment(), capture_output=True, check=False
        )
        return done.returncode == 0

    def whole_environment(self) -> dict[str, str]:
        """Return the environment that the engine runs in."""
        return {**os.environ, **self.environment}

    def _output(self, arguments: Sequence[str], stdin: bytes | None, timeout_s: float = 1800.0) -> bytes:
        return subprocess.run(  # noqa: S603  (arguments of ours, no shell)
            [self.name, *arguments], input=stdin, env=self.whole_environment(), stdout=subprocess.PIPE,
            check=True, timeout=timeout_s,
        ).stdout  # fmt: skip


def find_engine(preferred: str | None = None, *, private: Path | None = None) -> Engine:
    """Return the first engine that answers, or the `preferred` one. `private` is a folder for a private configuration.

    Raises EngineMissing with the fault of each engine.
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
    """Write a storage and a runtime configuration into `folder`; return the variables that make podman read them."""
    scratch = folder / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    storage = folder / "storage.conf"
    storage.write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n')
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # runc supports cgroups in hybrid mode; crun does not. A limit above the caller's makes every run fail.
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
    # Without a daemon some versions of docker's client exit with 0 and print the fault.
    if done.returncode or "Cannot connect to the Docker daemon" in done.stdout + done.stderr:
        return ((done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    return None

"""Paths of the locks that `make lock` writes with `uv pip compile`, and their reader.

Each lock holds for every Python from 3.11 on: a line has an environment marker where a package is not needed on all of
them, and the hashes of all files of its version. The resolver and the writer are uv's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
# Constraints of the development environment: versions without hashes.
DEVELOPMENT_LOCK = ROOT / "requirements.lock"
# The serving closure, with hashes, for CPUs and for GPUs.
SERVING_LOCK = ROOT / "requirements.serving.lock"
GPU_LOCK = ROOT / "requirements.serving-gpu.lock"
# The tool that `bentoml containerize` installs packages with. It stays out of the image.
BUILD_LOCK = ROOT / "deploy" / "container" / "requirements.build.lock"

_HASH = "--hash=sha256:"


@dataclass(frozen=True, slots=True)
class Pin:
    """One package at one version, with the SHA-256 of each of its files, and the environments that need it."""

    name: str
    version: str
    hashes: tuple[str, ...] = ()
    marker: Marker | None = None

    def applies_to(self, python: str) -> bool:
        """Return whether the package is needed on a full Python version, such as "3.13.5", on this platform."""
        minor = ".".join(python.split(".")[:2])
        environment = {"python_full_version": python, "python_version": minor}
        return self.marker is None or self.marker.evaluate(environment)

    def line(self) -> str:
        """Return the pin as a line of a requirements file, without its marker."""
        return " ".join((f"{self.name}=={self.version}", *(_HASH + digest for digest in self.hashes)))


def read_lock(path: Path) -> list[Pin]:
    """Read the pins of a lock. Raises ValueError on a requirement without an exact version."""
    return [_pin(line, path.name) for line in _logical_lines(path.read_text())]


def _logical_lines(text: str) -> Iterator[str]:
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line


def _pin(line: str, file: str) -> Pin:
    head, *hashes = line.split(_HASH)
    requirement = Requirement(head)
    specifiers = list(requirement.specifier)
    if len(specifiers) != 1 or specifiers[0].operator != "==":
        raise ValueError(f"{file}: '{head.strip()}' has no exact version; run: make lock")
    digests = tuple(digest.strip() for digest in hashes)
    return Pin(canonicalize_name(requirement.name), specifiers[0].version, digests, requirement.marker)

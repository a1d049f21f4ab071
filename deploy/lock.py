"""Writes the locks of the images: every package of the serving closure, with its version and the hash of its file.

`python -m deploy.lock`, run by `make lock`. pip resolves, under the constraints of requirements.lock and with whatever
index the user has configured; no address of it is written. One hash per package: the wheel for this machine's platform
(CPython 3.11 on x86-64 Linux is what is committed). Knows requirements, not images.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
SERVING_LOCK = ROOT / "requirements.serving.lock"
GPU_LOCK = ROOT / "requirements.serving-gpu.lock"
# The tool that `bentoml containerize` installs packages with. It stays out of the image.
BUILD_LOCK = ROOT / "deploy" / "container" / "requirements.build.lock"
BUILD_TOOLS = ("uv>=0.13,<0.14",)
# Debian's, which is what the image has without a registry: a package may ask for more on it than on a later one.
OLDEST_PYTHON = "3.11.2"
_HEADER = "# {what}, with the hashes of their files. Made by: make lock\n"


@dataclass(frozen=True, slots=True)
class Pin:
    """One package at one version, and the SHA-256 of the file that pip chose for this platform."""

    name: str
    version: str
    sha256: str

    def line(self) -> str:
        return f"{self.name}=={self.version} \\\n    --hash=sha256:{self.sha256}\n"


class LocalBuild(ValueError):
    """pip chose a build ("2.13.0+cpu") that only this machine has, so that no lock can name it."""


def serving_requirements(extra: str | None = None) -> list[str]:
    """The dependencies of pyproject.toml: what serving needs, and those of one extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *(project["optional-dependencies"][extra] if extra else [])]


def resolve(requirements: Sequence[str], *, constraints: Path | None = None, as_configured: bool = True) -> list[Pin]:
    """The closure of `requirements` as pip resolves it, on any Python since OLDEST_PYTHON, by name.

    Not `as_configured`, pip looks at its default index and nowhere else. Raises CalledProcessError when pip cannot,
    LocalBuild when it chose what no index has.
    """
    asked = list(requirements)
    while True:
        items = _report(asked, constraints, as_configured=as_configured)
        pins = sorted((_pin(item) for item in items), key=lambda pin: pin.name)
        missing = _needed_by_oldest(items) - {pin.name for pin in pins}
        if not missing:
            return pins
        asked += sorted(missing)


def write_lock(path: Path, pins: Sequence[Pin], *, what: str) -> None:
    """Write `pins` in pip's hash-checking format."""
    path.write_text(_HEADER.format(what=what) + "".join(pin.line() for pin in pins))


def read_lock(path: Path) -> list[Pin]:
    """Read what `write_lock` wrote. Raises ValueError on any other line."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    pins = []
    for head, tail in zip(lines[::2], lines[1::2], strict=True):
        name, mark, version = head.removesuffix(" \\").partition("==")
        kind, _, digest = tail.strip().partition("--hash=sha256:")
        if not mark or kind or len(digest) != 64:
            raise ValueError(f"{path.name}: not a pinned requirement with a hash: {head}")
        pins.append(Pin(name, version, digest))
    return pins


def main() -> None:
    """Resolve and write the three locks."""
    constraints = ROOT / "requirements.lock"
    _lock(BUILD_LOCK, BUILD_TOOLS, None, what="What builds the image and stays out of it")
    _lock(SERVING_LOCK, serving_requirements(), constraints, what="Everything that serving on a CPU needs")
    gpu, what = serving_requirements("gpu"), "Everything that serving on a GPU needs"
    try:
        _lock(GPU_LOCK, gpu, constraints, what=what)
    except LocalBuild as error:
        # A machine whose pip is told where a CPU build lies cannot see the wheel that GPUs need.
        print(f"> {error}; asking pip's default index instead")
        _lock(GPU_LOCK, gpu, constraints, what=what, as_configured=False)


def _lock(
    path: Path, requirements: Sequence[str], constraints: Path | None, *, what: str, as_configured: bool = True
) -> None:
    pins = resolve(requirements, constraints=constraints, as_configured=as_configured)
    write_lock(path, pins, what=what)
    print(f"> {path.name}: {len(pins)} packages")


def _report(requirements: Sequence[str], constraints: Path | None, *, as_configured: bool) -> list[dict[str, Any]]:
    environment = dict(os.environ)
    if not as_configured:
        # Folders and other indexes are set here; certificates and time limits, which stay, are not.
        for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
            environment.pop(name, None)
        environment["PIP_CONFIG_FILE"] = os.devnull
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        limits = ["--constraint", str(constraints)] if constraints else []
        subprocess.run(  # noqa: S603  (requirements of ours, no shell)
            [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--only-binary=:all:",
             "--quiet", "--report", str(report), *limits, *requirements],
            env=environment, check=True, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        # Any: the report is pip's own JSON, of which a few fields are read.
        items: list[dict[str, Any]] = json.loads(report.read_text())["install"]
    return items


def _needed_by_oldest(items: Sequence[dict[str, Any]]) -> set[str]:
    """Names that the resolved packages ask for on OLDEST_PYTHON; pip looks at the Python that it runs on."""
    lines = [line for item in items for line in item["metadata"].get("requires_dist", [])]
    needed = (Requirement(line) for line in lines if "python_full_version" in line)
    oldest = {"python_full_version": OLDEST_PYTHON, "extra": ""}
    return {canonicalize_name(each.name) for each in needed if each.marker is None or each.marker.evaluate(oldest)}


def _pin(item: dict[str, Any]) -> Pin:
    name = canonicalize_name(item["metadata"]["name"])
    version = item["metadata"]["version"]
    if "+" in version:
        raise LocalBuild(f"pip is configured to take {name} {version}, which no index has")
    return Pin(name, version, item["download_info"]["archive_info"]["hashes"]["sha256"])


if __name__ == "__main__":
    main()

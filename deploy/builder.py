"""The image that `bentoml containerize` builds on: the base, with the locked wheels and the tool that installs them.

pip downloads the wheels of the image's Python, from whatever index the user has configured, and checks their hashes.
The build then needs no network, no index address is written anywhere, and every engine works the same way.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from deploy.base import GLIBC_MINOR, IMAGE_PYTHON
from deploy.engine import Engine
from deploy.lock import BUILD_LOCK, read_lock

_NAME = "localhost/makunouchi-builder"
_FILE = Path(__file__).parent / "container" / "Containerfile.builder"


def builder_image(engine: Engine, *, base: str, lock: Path) -> str:
    """Return the name of the builder for `lock` on the image `base`; build it where the engine's storage lacks it."""
    parts = (base.encode(), IMAGE_PYTHON.encode(), lock.read_bytes(), BUILD_LOCK.read_bytes())
    digest = hashlib.sha256(b"".join(parts)).hexdigest()[:12]
    name = f"{_NAME}:{digest}"
    if not engine.has_image(name):
        wheels = _cache() / digest
        download_wheels(lock, wheels)
        with tempfile.TemporaryDirectory(prefix="makunouchi-builder-") as context:
            _extract_installer(Path(context) / "uv")
            shutil.copytree(wheels, Path(context) / "wheels")
            engine.build(Path(context), tag=name, file=_FILE, options=["--build-arg", f"BASE={base}"])
    return name


def download_wheels(lock: Path, folder: Path, *, python: str = IMAGE_PYTHON) -> None:
    """Download into `folder` each wheel of `lock` that `python`, such as "3.13", needs on Linux.

    Raises CalledProcessError when a wheel is missing or its hash is not in the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    platforms = [part for tag in _platforms() for part in ("--platform", tag)]
    with tempfile.TemporaryDirectory() as scratch:
        # pip evaluates markers for the Python that it runs on, not for `--python-version`.
        pins = [pin for pin in read_lock(lock) if pin.applies_to(f"{python}.0")]
        requirements = Path(scratch) / lock.name
        requirements.write_text("".join(f"{pin.line()}\n" for pin in pins))
        subprocess.run(  # noqa: S603  (arguments of ours, no shell)
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
             "--only-binary=:all:", "--implementation", "cp", "--python-version", python, *platforms,
             "--dest", str(folder), "--requirement", str(requirements)],
            check=True, stderr=subprocess.PIPE,
        )  # fmt: skip


def _platforms() -> list[str]:
    """Return the platform tags of wheels that run on the base image, the newest first."""
    machine = platform.machine()
    newest_first = range(GLIBC_MINOR, 4, -1)
    return [*(f"manylinux_2_{minor}_{machine}" for minor in newest_first), f"manylinux2014_{machine}"]


def _extract_installer(target: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        download_wheels(BUILD_LOCK, Path(scratch))
        (wheel,) = Path(scratch).glob("uv-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (member,) = (name for name in archive.namelist() if name.endswith("/scripts/uv"))
            target.write_bytes(archive.read(member))
    target.chmod(0o755)


def _cache() -> Path:
    return Path(os.environ.get("MAKUNOUCHI_CACHE") or Path.home() / ".cache" / "makunouchi") / "wheels"

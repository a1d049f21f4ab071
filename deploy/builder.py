"""The image that `bentoml containerize` builds on: the base, with the locked wheels and the tool that installs them.

pip downloads the wheels, from whatever index the user has configured, and checks their hashes; the build then needs no
network, no index address is written anywhere, and every engine works alike. Knows locks, not Bentos.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from deploy.engine import Engine
from deploy.lock import BUILD_LOCK

_NAME = "localhost/makunouchi-builder"
_FILE = Path(__file__).parent / "container" / "Containerfile.builder"


def builder_image(engine: Engine, *, base: str, lock: Path) -> str:
    """The name of the builder for `lock` on the image `base`, made where the engine's storage lacks it."""
    digest = hashlib.sha256(base.encode() + lock.read_bytes() + BUILD_LOCK.read_bytes()).hexdigest()[:12]
    name = f"{_NAME}:{digest}"
    if not engine.has_image(name):
        wheels = _cache() / digest
        download_wheels(lock, wheels)
        with tempfile.TemporaryDirectory(prefix="makunouchi-builder-") as context:
            _installer(Path(context) / "uv")
            shutil.copytree(wheels, Path(context) / "wheels")
            engine.build(Path(context), tag=name, file=_FILE, options=["--build-arg", f"BASE={base}"])
    return name


def download_wheels(lock: Path, folder: Path) -> None:
    """Download every wheel of `lock` into `folder`. Raises CalledProcessError when one is missing or another file."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(  # noqa: S603  (arguments of ours, no shell)
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:",
         "--dest", str(folder), "--requirement", str(lock)],
        check=True, stderr=subprocess.PIPE,
    )  # fmt: skip


def _installer(target: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        download_wheels(BUILD_LOCK, Path(scratch))
        (wheel,) = Path(scratch).glob("uv-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (member,) = (name for name in archive.namelist() if name.endswith("/scripts/uv"))
            target.write_bytes(archive.read(member))
    target.chmod(0o755)


def _cache() -> Path:
    return Path(os.environ.get("MAKUNOUCHI_CACHE") or Path.home() / ".cache" / "makunouchi") / "wheels"

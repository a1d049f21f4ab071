"""Image files out of zip and tar archives. Names are labels: nothing is ever written to where one says.

Sizes that an archive tells are not believed: what comes out is counted.
"""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from models.errors import InputTooLarge, InvalidInput
from serving.jobs.decoding.task import DecodeLimits
from serving.jobs.storage.item_file import Item

MAX_NAME_CHARACTERS = 1024
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, ValueError, NotImplementedError)


def archived_images(path: Path, limits: DecodeLimits) -> Iterator[Item]:
    """The files of an archive, in its order; folders and what systems add are passed over.

    Raises InvalidInput for what is no archive, InputTooLarge for one that unpacks to more than a limit.
    """
    with path.open("rb") as stream:
        is_zip = stream.read(4) in _ZIP_MAGIC
    try:
        yield from _zipped(path, limits) if is_zip else _tarred(path, limits)
    except _BROKEN as error:
        raise InvalidInput("the file is no zip or tar archive, or it is damaged", location=("body",)) from error
    except MemoryError as error:
        raise InputTooLarge("the archive takes too much memory to read", location=("body",)) from error


def image_item(name: str, data: bytes | None, *, max_bytes: int) -> Item:
    """An image of a job; None for one that is larger than `max_bytes`."""
    head = {"name": name[:MAX_NAME_CHARACTERS].encode("utf-8", "replace").decode()}
    if data is None:
        return Item(head | {"fault": f"the file is larger than {max_bytes} bytes", "kind": "too-large"})
    return Item(head, data)


def is_passed_over(name: str) -> bool:
    """Whether a file is one that a system put there, and nobody means."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return not parts or parts[0] == "__MACOSX" or parts[-1].startswith("._") or parts[-1] in (".DS_Store", "Thumbs.db")


def _zipped(path: Path, limits: DecodeLimits) -> Iterator[Item]:
    with zipfile.ZipFile(path) as archive:
        listed = archive.infolist()
        # Not `is_dir()`, which fails on a file without a name.
        members = [each for each in listed if not each.filename.endswith("/") and not is_passed_over(each.filename)]
        if len(members) > limits.max_items:
            raise InputTooLarge(f"a job may have at most {limits.max_items} items", location=("body",))
        for member in members:
            if fault := _fault_of(member.filename):
                yield _faulty(member.filename, fault)
            elif member.flag_bits & 1:
                yield _faulty(member.filename, "the file is encrypted")
            else:
                yield _from_zip(archive, member, limits)


def _from_zip(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limits: DecodeLimits) -> Item:
    try:
        with archive.open(member) as stream:
            return image_item(member.filename, _read(stream, limits), max_bytes=limits.max_item_bytes)
    except _BROKEN:
        return _faulty(member.filename, "the file is damaged, or compressed in a way that is not read here")


def _tarred(path: Path, limits: DecodeLimits) -> Iterator[Item]:
    passed_bytes = 0
    with tarfile.open(path, mode="r|*") as archive:
        for member in archive:
            passed_bytes += member.size
            if passed_bytes > limits.max_unpacked_bytes:
                raise InputTooLarge(
                    f"the archive unpacks to more than {limits.max_unpacked_bytes} bytes", location=("body",)
                )
            if member.isdir() or is_passed_over(member.name):
                continue
            stream = archive.extractfile(member) if member.isreg() and not member.issparse() else None
            if stream is None:
                yield _faulty(member.name, "it is a link or a device, not a file")
            elif fault := _fault_of(member.name):
                yield _faulty(member.name, fault)
            else:
                yield image_item(member.name, _read(stream, limits), max_bytes=limits.max_item_bytes)


def _read(stream: IO[bytes], limits: DecodeLimits) -> bytes | None:
    data = stream.read(limits.max_item_bytes + 1)
    return data if len(data) <= limits.max_item_bytes else None


def _fault_of(name: str) -> str:
    parts = name.replace("\\", "/").split("/")
    if ".." in parts or name.startswith(("/", "\\")) or name[1:2] == ":":
        return "its name leads out of the archive"
    return "its name is no text" if any(ord(each) < 32 for each in name) else ""


def _faulty(name: str, fault: str) -> Item:
    item = image_item(name, b"", max_bytes=0)
    return Item({**item.head, "fault": fault})

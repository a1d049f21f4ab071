"""Read the files in zip and tar archives as items, in constant memory.

Names in an archive are labels: no file is written to a path from an archive. Everything that a tar unpacks to counts
towards the limit, whether it is an item or not; of a zip, the sizes of all members, which bound what is read of them.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from models.errors import InputTooLarge, InvalidInput, UnsupportedMedia
from serving.jobs.decoding.tar_members import tar_members, unpacks_to_more
from serving.jobs.decoding.task import DecodeLimits
from serving.jobs.storage.item_file import JobItem

MAX_NAME_CHARACTERS = 1024
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_OTHER_MAGIC = {
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "rar",
}
# Of the other methods of a zip, Python's reader unpacks any number of bytes in one piece.
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_READ_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError)


def archived_files(path: Path, limits: DecodeLimits) -> Iterator[JobItem]:
    """Yield the files of an archive in its order, without folders and the files that operating systems add.

    Raises InvalidInput for a file that is not an archive, UnsupportedMedia for another compression, InputTooLarge for
    an archive that exceeds a limit.
    """
    with path.open("rb") as stream:
        start = stream.read(6)
    if name := next((name for magic, name in _OTHER_MAGIC.items() if start.startswith(magic)), None):
        raise UnsupportedMedia(f"the archive is compressed with {name}; send zip, tar or tar.gz")
    try:
        yield from _zip_items(path, limits) if start[:4] in _ZIP_MAGIC else _tar_items(path, limits)
    except _READ_ERRORS as error:
        raise InvalidInput("the file is not a zip or tar archive, or it is damaged", location=("body",)) from error
    except MemoryError as error:
        raise InputTooLarge("reading the archive needs too much memory", location=("body",)) from error


def file_item(name: str, data: bytes | None, *, max_bytes: int) -> JobItem:
    """Return the item for a file. `data` is None for files larger than `max_bytes`."""
    head = {"name": name[:MAX_NAME_CHARACTERS].encode("utf-8", "replace").decode()}
    if data is None:
        return JobItem(head | {"fault": f"the file is larger than {max_bytes} bytes", "kind": "too-large"})
    return JobItem(head, data)


def is_system_file(name: str) -> bool:
    """Return whether an operating system added this file."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return not parts or parts[0] == "__MACOSX" or parts[-1].startswith("._") or parts[-1] in (".DS_Store", "Thumbs.db")


def _zip_items(path: Path, limits: DecodeLimits) -> Iterator[JobItem]:
    with zipfile.ZipFile(path) as archive:
        # Not `is_dir()`, which fails on a file without a name.
        members = [
            member
            for member in archive.infolist()
            if not member.filename.endswith("/") and not is_system_file(member.filename)
        ]
        if len(members) > limits.max_items:
            raise InputTooLarge(f"a job may have at most {limits.max_items} items", location=("body",))
        if sum(member.file_size for member in members) > limits.max_unpacked_bytes:
            raise unpacks_to_more(limits)
        for member in members:
            if fault := _name_fault(member.filename):
                yield _faulty_item(member.filename, fault)
            elif member.flag_bits & 1:
                yield _faulty_item(member.filename, "the file is encrypted")
            elif member.compress_type not in _ZIP_METHODS:
                yield _faulty_item(member.filename, "its compression method is not supported; use deflate")
            elif member.file_size > limits.max_item_bytes:
                yield file_item(member.filename, None, max_bytes=limits.max_item_bytes)
            else:
                yield _zip_item(archive, member, limits)


def _zip_item(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limits: DecodeLimits) -> JobItem:
    try:
        with archive.open(member) as stream:
            # Without a number it would unpack everything at once, whatever size the member states.
            data = stream.read(limits.max_item_bytes)
    except _READ_ERRORS:
        return _faulty_item(member.filename, "the file is damaged")
    return file_item(member.filename, data, max_bytes=limits.max_item_bytes)


def _tar_items(path: Path, limits: DecodeLimits) -> Iterator[JobItem]:
    for member in tar_members(path, limits):
        if member.is_folder or is_system_file(member.name):
            continue
        if not member.is_file:
            yield _faulty_item(member.name, "it is a link or a device, not a file")
        elif fault := _name_fault(member.name):
            yield _faulty_item(member.name, fault)
        else:
            yield file_item(member.name, member.data, max_bytes=limits.max_item_bytes)


def _name_fault(name: str) -> str:
    parts = name.replace("\\", "/").split("/")
    if ".." in parts or name.startswith(("/", "\\")) or name[1:2] == ":":
        return "its name points outside the archive"
    return "its name contains control characters" if any(ord(character) < 32 for character in name) else ""


def _faulty_item(name: str, fault: str) -> JobItem:
    item = file_item(name, b"", max_bytes=0)
    return JobItem({**item.head, "fault": fault})

"""Unpack the tar of an artifact, plain or compressed with gzip or xz.

Files are written one by one, so modes, owners and links of the archive have no effect.
"""

from __future__ import annotations

import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

from models.errors import ArtifactInvalid
from models.store.manifest import MANIFEST_FILE, MAX_FILES, MODEL_FILE, is_plain_path

# A header, or one piece of a member that is copied.
_MAX_READ_BYTES: Final = 1 << 20
_COPY_BYTES: Final = 1 << 18
# `xz -9` needs 65 MiB. Its format permits 4 GiB.
_MAX_XZ_MEMORY_BYTES: Final = 256 << 20


class _CheckedReader:
    """A plain tar. Python's reader takes a header of any size into memory: this one refuses to read so much at once."""

    def __init__(self, file: BinaryIO) -> None:
        self.seek = file.seek
        self.tell = file.tell
        self._read = file.read

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _MAX_READ_BYTES:
            raise ArtifactInvalid("a header of the archive is too large")
        return self._read(size)


def unpack(archive: Path, folder: Path, *, max_bytes: int, bound: str) -> Path:
    """Unpack `archive` into `folder`, and return the folder in it that has the manifest: itself, or the only one in it.

    `bound` names what sets `max_bytes`. Raise ArtifactInvalid, with the reason alone, for an archive with links,
    devices or unusual names, and for one that is too large or damaged.
    """
    too_large = ArtifactInvalid(f"it unpacks to more than {max_bytes} bytes ({bound})")
    left = max_bytes
    try:
        with _opened(archive, folder, max_bytes, too_large) as members:
            for count, member in enumerate(members):
                left -= member.size
                if left < 0:
                    raise too_large
                if count >= MAX_FILES:
                    raise ArtifactInvalid(f"the archive has more than {MAX_FILES} members")
                _write(members, member, folder)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, ValueError, RecursionError):
        raise ArtifactInvalid("it is not a tar archive, or it is damaged") from None
    inner = [path for path in folder.iterdir() if path.is_dir()]
    if len(inner) == 1 and not any((folder / file).is_file() for file in (MANIFEST_FILE, MODEL_FILE)):
        return inner[0]
    return folder


@contextmanager
def _opened(archive: Path, folder: Path, max_bytes: int, too_large: ArtifactInvalid) -> Iterator[tarfile.TarFile]:
    with archive.open("rb") as file:
        start = file.read(max(map(len, _COMPRESSED)))
    decompress = next((each for magic, each in _COMPRESSED.items() if start.startswith(magic)), None)
    # Python's reader steps back now and then, and a compressed file would be unpacked from its start each time.
    plain = folder.with_name(f"{folder.name}.plain") if decompress else archive
    try:
        if decompress:
            # Headers and padding have a kilobyte for each member, and the end has 10 KiB.
            left = max_bytes + 2048 * MAX_FILES
            with plain.open("wb") as output:
                for chunk in decompress(archive):
                    left -= len(chunk)
                    if left < 0:
                        raise too_large
                    output.write(chunk)
        with (
            plain.open("rb") as file,
            tarfile.open(fileobj=cast("BinaryIO", _CheckedReader(file)), mode="r:") as members,
        ):
            yield members
    finally:
        if decompress:
            plain.unlink(missing_ok=True)


def _gzip_chunks(archive: Path) -> Iterator[bytes]:
    with gzip.open(archive, "rb") as packed:
        while chunk := packed.read(_COPY_BYTES):
            yield chunk


def _xz_chunks(archive: Path) -> Iterator[bytes]:
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_XZ_MEMORY_BYTES)
    with archive.open("rb") as packed:
        while not decompressor.eof:
            data = packed.read(_COPY_BYTES) if decompressor.needs_input else b""
            if decompressor.needs_input and not data:
                raise EOFError("the archive is cut")
            yield decompressor.decompress(data, _COPY_BYTES)


# By the first bytes of a file.
_COMPRESSED: Final[Mapping[bytes, Callable[[Path], Iterator[bytes]]]] = {
    b"\x1f\x8b": _gzip_chunks,
    b"\xfd7zXZ\0": _xz_chunks,
}


def _write(members: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    name = member.name.removeprefix("./").rstrip("/")
    if member.isdir() and name in ("", "."):
        return
    if not is_plain_path(name):
        raise ArtifactInvalid(f"{name[:100]!a} is not a name that a file of an artifact may have")
    if member.isdir():  # made with its first file
        return
    data = members.extractfile(member) if member.isreg() and not member.issparse() else None
    if data is None:
        raise ArtifactInvalid(f"'{name}' is a link, a device or a sparse file")
    target = folder / name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as output:
            while chunk := data.read(_COPY_BYTES):
                output.write(chunk)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise ArtifactInvalid(f"'{name}' is in the archive twice") from error
    if target.stat().st_size != member.size:
        raise ArtifactInvalid(f"'{name}' is cut")

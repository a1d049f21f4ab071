"""Unpack the tar of an artifact, plain or compressed with gzip.

Files are written one by one, so modes, owners and links of the archive have no effect.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

from models.errors import ArtifactInvalid
from models.store.artifacts import MANIFEST_FILE
from models.store.sources.manifest import MAX_FILES, is_plain_path

# A header, or one piece of a member that is copied.
_MAX_READ_BYTES: Final = 1 << 20
_COPY_BYTES: Final = 1 << 18
_GZIP_MAGIC: Final = b"\x1f\x8b"


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


def unpack(archive: Path, folder: Path, *, label: str, max_bytes: int) -> Path:
    """Unpack `archive` into `folder`, and return the folder in it that has the manifest: itself, or the only one in it.

    Raise ArtifactInvalid for an archive with links, devices or unusual names, and for one that is too large or damaged.
    """
    try:
        with _opened(archive, max_bytes) as members:
            for count, member in enumerate(members):
                if count >= MAX_FILES:
                    raise ArtifactInvalid(f"the archive has more than {MAX_FILES} members")
                _write(members, member, folder)
    except ArtifactInvalid as error:
        raise ArtifactInvalid(f"source '{label}' is refused: {error}; nothing was saved") from None
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, RecursionError):
        raise ArtifactInvalid(f"source '{label}' is not a tar, or it is damaged; nothing was saved") from None
    inner = [path for path in folder.iterdir() if path.is_dir()]
    if not (folder / MANIFEST_FILE).is_file() and len(inner) == 1:
        return inner[0]
    return folder


@contextmanager
def _opened(archive: Path, max_bytes: int) -> Iterator[tarfile.TarFile]:
    with archive.open("rb") as file:
        is_gzip = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    # Python's reader steps back now and then, and a compressed file would be unpacked from its start each time.
    plain = archive.with_name(f"{archive.name}.plain") if is_gzip else archive
    try:
        if is_gzip:
            _unpack_gzip(archive, plain, max_bytes)
        with (
            plain.open("rb") as file,
            tarfile.open(fileobj=cast("BinaryIO", _CheckedReader(file)), mode="r:") as members,
        ):
            yield members
    finally:
        if is_gzip:
            plain.unlink(missing_ok=True)


def _unpack_gzip(archive: Path, target: Path, max_bytes: int) -> None:
    # Headers and padding have a kilobyte for each member, and the end has 10 KiB.
    left = max_bytes + 2048 * MAX_FILES
    with gzip.open(archive, "rb") as packed, target.open("wb") as output:
        while chunk := packed.read(_COPY_BYTES):
            left -= len(chunk)
            if left < 0:
                raise ArtifactInvalid(f"it unpacks to more than {max_bytes} bytes (source_max_bytes)")
            output.write(chunk)


def _write(members: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    name = member.name.removeprefix("./").rstrip("/")
    if member.isdir() and name in ("", "."):
        return
    if not is_plain_path(name):
        raise ArtifactInvalid(f"'{name[:100]!a}' is not a name that a file of an artifact may have")
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

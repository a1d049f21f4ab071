"""Read the members of a tar, plain or compressed with gzip, in constant memory.

Python's reader keeps every header, unpacks bzip2 in one piece, takes quadratic time for some headers of pax (one is
CVE-2024-6232), and ends silently at a damaged header. Of it, only the parser of one block of 512 bytes is used here.
"""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from models.errors import InputTooLarge, InvalidInput
from serving.jobs.decoding.task import DecodeLimits

# A header that extends the next one: a long name, or the records of pax. Paths have at most 4,096 bytes.
MAX_EXTENSION_BYTES: Final = 16 << 10
_GZIP_MAGIC = b"\x1f\x8b"
_BLOCK_BYTES: Final = 512
_SKIP_BYTES: Final = 1 << 18
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_IGNORED = (tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK)
# The offsets of the flag that a block of a sparse file's map follows, in the header and in such a block.
_HAS_MAP_AT, _HAS_NEXT_MAP_AT = 482, 504


@dataclass(frozen=True, slots=True)
class TarMember:
    """A member of a tar. `data` is None for a file larger than an item may be; links and devices have none."""

    name: str
    is_file: bool
    is_folder: bool
    data: bytes | None


@dataclass(slots=True)
class _Extension:
    """What the headers before a member say about it."""

    name: bytes | None = None
    size: int | None = None
    is_sparse: bool = False


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(slots=True)
class _TarStream:
    """The unpacked bytes of a tar, which are counted."""

    stream: _Readable
    limits: DecodeLimits
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.limits.max_unpacked_bytes

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes. Raises InvalidInput at the end, InputTooLarge over the limit."""
        data = self.stream.read(self._count(size))
        if len(data) < size:
            raise _damaged()
        return data

    def read_padded(self, size: int) -> bytes:
        """Return `size` bytes, and skip the rest of their last block."""
        return self.read(size + -size % _BLOCK_BYTES)[:size]

    def skip_padded(self, size: int) -> None:
        """Skip `size` bytes and the rest of their last block."""
        left = self._count(size + -size % _BLOCK_BYTES)
        while left:
            skipped = len(self.stream.read(min(left, _SKIP_BYTES)))
            if not skipped:
                raise _damaged()
            left -= skipped

    def header(self) -> bytes:
        """Return the next header; nothing at the end of the tar, which is a block of zeros or the end of the file."""
        block = self.stream.read(self._count(_BLOCK_BYTES))
        if len(block) not in (0, _BLOCK_BYTES):
            raise _damaged()
        return block if any(block) else b""

    def _count(self, size: int) -> int:
        self.left -= size
        if self.left < 0:
            raise unpacks_to_more(self.limits)
        return size


def tar_members(path: Path, limits: DecodeLimits) -> Iterator[TarMember]:
    """Yield the members of a tar in its order. Raises InvalidInput, InputTooLarge, and the errors of gzip."""
    with path.open("rb") as file:
        start = file.read(len(_GZIP_MAGIC))
    if not start:
        raise _damaged()
    with gzip.open(path) if start == _GZIP_MAGIC else path.open("rb") as file:
        stream = _TarStream(file, limits)
        extension = _Extension()
        while block := stream.header():
            header = _parsed(block)
            if not _extend(extension, header, stream):
                yield _member(header, block, extension, stream)
                extension = _Extension()


def unpacks_to_more(limits: DecodeLimits) -> InputTooLarge:
    """Return the error of an archive that is larger than an upload may unpack to."""
    return InputTooLarge(f"the archive unpacks to more than {limits.max_unpacked_bytes} bytes", location=("body",))


def _parsed(block: bytes) -> tarfile.TarInfo:
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise _damaged() from error
    if header.size < 0:
        raise _damaged()
    return header


def _extend(extension: _Extension, header: tarfile.TarInfo, stream: _TarStream) -> bool:
    """Read `header` into `extension`, and return True, if it is about the next member."""
    if header.type in _IGNORED:
        stream.skip_padded(header.size)
    elif header.type in _PAX:
        for keyword, value in _pax_records(_extension_data(header, stream)):
            if keyword == b"path":
                extension.name = value
            elif keyword == b"size":
                extension.size = _number(value)
            elif keyword.startswith(b"GNU.sparse."):
                extension.is_sparse = True
    elif header.type == tarfile.GNUTYPE_LONGNAME:
        extension.name = _extension_data(header, stream)
    else:
        return False
    return True


def _extension_data(header: tarfile.TarInfo, stream: _TarStream) -> bytes:
    if header.size > MAX_EXTENSION_BYTES:
        raise InputTooLarge(f"a header of the archive has more than {MAX_EXTENSION_BYTES} bytes", location=("body",))
    return stream.read_padded(header.size)


def _pax_records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield keyword and value of each record, which is `length keyword=value\\n` (POSIX.1-2001, pax)."""
    while data:
        digits, space, _ = data[:20].partition(b" ")
        length = _number(digits)
        record, data = data[:length], data[length:]
        keyword, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if not (space and equals and record.endswith(b"\n")):
            raise _damaged()
        yield keyword, value


def _number(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 20:
        raise _damaged()
    return int(digits)


def _member(header: tarfile.TarInfo, block: bytes, extension: _Extension, stream: _TarStream) -> TarMember:
    name = header.name
    if extension.name is not None:
        name = extension.name.partition(b"\0")[0].decode("utf-8", "surrogateescape").rstrip("/")
    size = header.size if extension.size is None else extension.size
    is_sparse = header.type == tarfile.GNUTYPE_SPARSE
    is_file = header.isreg() and not is_sparse and not extension.is_sparse
    data: bytes | None = b""
    has_map = is_sparse and block[_HAS_MAP_AT]
    while has_map:
        has_map = stream.read(_BLOCK_BYTES)[_HAS_NEXT_MAP_AT]
    if is_file and size <= stream.limits.max_item_bytes:
        data = stream.read_padded(size)
    elif header.isreg() or header.type not in tarfile.SUPPORTED_TYPES:
        data = None
        stream.skip_padded(size)
    return TarMember(name, is_file, header.isdir(), data)


def _damaged() -> InvalidInput:
    return InvalidInput("the file is not a zip or tar archive, or it is damaged", location=("body",))

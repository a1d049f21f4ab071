"""Chunks of PNG files: which ones the pixels depend on, and which one is damaged.

Ancillary chunks never decide whether a file can be read (W3C PNG, 13.1), so decoders get none but a sound tRNS.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from models.errors import InvalidInput

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS: Final = 100_000
_GREY, _COLOUR, _PALETTE = 0, 2, 3
# The channels of each colour type, and the bits that a sample may have.
_CHANNELS = {_GREY: 1, _COLOUR: 3, _PALETTE: 1, 4: 2, 6: 4}
_DEPTHS = {_GREY: (1, 2, 4, 8, 16), _COLOUR: (8, 16), _PALETTE: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_KNOWN_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_TRANSPARENCY_BYTES = {_GREY: 2, _COLOUR: 6}
_NO_PALETTE = "it has no palette of whole colours"
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Chunk:
    """Type and place of a chunk. Its content is `data[start : start + length]`, which a truncated file lacks."""

    kind: bytes
    start: int
    length: int

    @property
    def name(self) -> str:
        return self.kind.decode("latin-1").rstrip()

    def content(self, data: bytes) -> bytes:
        return data[self.start : self.start + self.length]

    def whole(self, data: bytes) -> bytes:
        """Return the chunk with its length, type and checksum."""
        return data[self.start - 8 : self.start + self.length + 4]

    def is_sound(self, data: bytes) -> bool:
        """Return whether the checksum is right."""
        checksum = zlib.crc32(data[self.start - 4 : self.start + self.length])
        return data[self.start + self.length : self.start + self.length + 4] == struct.pack(">I", checksum)


def chunks(data: bytes) -> list[Chunk]:
    """List the chunks up to the end of the file. Raise InvalidInput for more than MAX_CHUNKS."""
    found: list[Chunk] = []
    at = 8
    while at + 8 <= len(data):
        if len(found) == MAX_CHUNKS:
            raise InvalidInput(f"the PNG has more than {MAX_CHUNKS:,} chunks")
        length, kind = struct.unpack_from(">I4s", data, at)
        found.append(Chunk(kind, at + 8, length))
        at += 12 + length
    return found


def pixel_chunks(data: bytes) -> bytes:
    """Return a PNG without the chunks that its pixels do not depend on, such as text, profiles and animation.

    Raise InvalidInput if its colours are those of a palette that it lacks.
    """
    found = chunks(data)
    if _lacks_palette(data, found):
        raise InvalidInput(f"the PNG image cannot be decoded: {_NO_PALETTE}")
    kinds = {b"IHDR", b"IDAT", b"IEND"} | ({b"PLTE"} if data[25] == _PALETTE else set())
    transparency = _transparency(data, found)
    return SIGNATURE + b"".join(chunk.whole(data) for chunk in found if chunk.kind in kinds or chunk is transparency)


def transparent_samples(data: bytes) -> tuple[int, ...] | None:
    """Return the samples of the transparent colour of a grey or RGB file, in the depth of the file."""
    chunk = _transparency(data, chunks(data))
    if chunk is None or data[25] == _PALETTE:
        return None
    return struct.unpack(f">{chunk.length // 2}H", chunk.content(data))


def depth(data: bytes) -> int:
    """Return the bits of a sample."""
    return data[24]


def fault(data: bytes) -> str | None:
    """Return what is wrong with the file, or None when its structure and its compressed data are sound."""
    found = chunks(data)
    return _header_fault(data) or _chunk_fault(data, found) or _data_fault(data, found)


def _transparency(data: bytes, found: list[Chunk]) -> Chunk | None:
    """Return the chunk of transparency, unless it is damaged."""
    for chunk in found:
        if chunk.kind == b"IDAT":
            return None
        if chunk.kind == b"tRNS" and data[25] in (_GREY, _COLOUR, _PALETTE):
            is_whole = chunk.length == _TRANSPARENCY_BYTES.get(data[25], min(chunk.length, 256))
            return chunk if is_whole and chunk.is_sound(data) else None
    return None


def _header_fault(data: bytes) -> str | None:
    bits, kind, compression, filters, interlace = data[24:29]
    if bits not in _DEPTHS.get(kind, ()):
        return f"its header states the colour type {kind} with {bits} bits, which PNG does not have"
    if compression or filters or interlace > 1:
        return f"its header states the methods {compression}, {filters} and {interlace}, which PNG does not have"
    return None


def _chunk_fault(data: bytes, found: list[Chunk]) -> str | None:
    for chunk in found:
        name, is_ancillary = chunk.name, chunk.kind[0] & 0x20
        if not chunk.kind.isalpha():
            return f"the bytes at {chunk.start - 8:,} are not a chunk"
        remaining = len(data) - chunk.start
        if chunk.length + 4 > remaining:
            return f"it is truncated; its chunk {name} has {min(chunk.length, remaining):,} of {chunk.length:,} bytes"
        if not is_ancillary and chunk.kind not in _KNOWN_CRITICAL:
            return f"its critical chunk {name} is not part of PNG"
        if not is_ancillary and not chunk.is_sound(data):
            return f"the checksum of its chunk {name} at byte {chunk.start - 8:,} is wrong"
    if all(chunk.kind != b"IDAT" for chunk in found):
        return "it is truncated; it has no chunk IDAT"
    return _NO_PALETTE if _lacks_palette(data, found) else None


def _lacks_palette(data: bytes, found: list[Chunk]) -> bool:
    """Return whether the file needs a palette, and has none of whole colours."""
    return data[25] == _PALETTE and not any(chunk.kind == b"PLTE" and chunk.length % 3 == 0 for chunk in found)


def _data_fault(data: bytes, found: list[Chunk]) -> str | None:
    unpacked, needed = 0, _unpacked_bytes(data)
    unpacker = zlib.decompressobj()
    try:
        for piece in _pieces(data, found):
            remaining = piece
            while remaining and unpacked < needed and not unpacker.eof:
                unpacked += len(unpacker.decompress(remaining, _PIECE_BYTES))
                remaining = unpacker.unconsumed_tail
    except zlib.error:
        return "its compressed data is damaged"
    if unpacked < needed:
        return f"it is truncated; its data unpacks to {unpacked:,} of {needed:,} bytes"
    return None


def _pieces(data: bytes, found: list[Chunk]) -> Iterator[bytes]:
    return (chunk.content(data) for chunk in found if chunk.kind == b"IDAT")


def _unpacked_bytes(data: bytes) -> int:
    """Return the size of all rows. In an interlaced file it is more by the padding of its passes, which is small."""
    width, height = struct.unpack_from(">II", data, 16)
    return int(height) * (1 + (int(width) * _CHANNELS[data[25]] * depth(data) + 7) // 8)

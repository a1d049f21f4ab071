"""Headers of image files: format, size and orientation, without decoding.

The module parses headers itself, so that the size is known before a decoder allocates memory, and independent of the
warnings and process-wide limits of Pillow.
"""

from __future__ import annotations

import itertools
import re
import struct
from dataclasses import dataclass
from typing import Final, Literal

from models.errors import InvalidInput, UnsupportedMedia

Format = Literal["JPEG", "PNG", "WebP", "GIF", "BMP"]

_ORIENTATION_TAG = 0x0112
_SHORT = 3
# A progressive JPEG has about ten scans. Each one visits every block of the image, and takes 100 bytes of the file.
MAX_SCANS: Final = 100
MAX_PNG_CHUNKS: Final = 100_000
# The chunks of a PNG that its pixels depend on. The others may unpack to a mebibyte each.
_PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
# The marker after the data of a scan, in which FF is followed by 00 or by the number of a restart.
_MARKER_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_GIF_GRAPHIC_CONTROL = 0xF9
_FILL_BYTES = re.compile(rb"\xff+")
_SCAN, _END = 0xDA, 0xD9
# JPEG markers without a length after them: TEM, RST0-7, SOI, EOI.
_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xDA)})
# Start-of-frame markers: all of C0-CF but DHT (C4), JPG (C8) and DAC (CC).
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True, slots=True)
class Header:
    """The properties in the header of a file. `orientation` is EXIF's 1..8; `components` counts JPEG planes, else 0."""

    format: Format
    width: int
    height: int
    orientation: int = 1
    components: int = 0
    has_inverted_ink: bool = False


def read_header(data: bytes) -> Header:
    """Read the header of an image file. Raise UnsupportedMedia for another format, InvalidInput for a truncated one."""
    try:
        if data.startswith(b"\xff\xd8\xff"):
            header = _jpeg(data)
        elif data.startswith(b"\x89PNG\r\n\x1a\n"):
            header = _png(data)
        elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            header = _webp(data)
        elif data.startswith((b"GIF87a", b"GIF89a")):
            header = _gif(data)
        elif data.startswith(b"BM"):
            header = _bmp(data)
        else:
            raise UnsupportedMedia("not an image that can be read here; send JPEG, PNG, WebP, GIF or BMP")
    except (struct.error, IndexError) as error:
        raise InvalidInput("the image is truncated: its header is incomplete") from error
    if header.width <= 0 or header.height <= 0:
        raise InvalidInput("the image is empty: its width or height is 0")
    return header


def pixel_chunks(data: bytes) -> bytes:
    """Return a PNG without the chunks that are not about its pixels, such as text, profiles and animation."""
    chunks = (
        data[start - 8 : start + length + 4] for kind, start, length in _png_chunks(data) if kind in _PIXEL_CHUNKS
    )
    return data[:8] + b"".join(chunks)


def first_frame(data: bytes) -> bytes:
    """Return a GIF without the extensions before its first frame, except the last one about transparency."""
    offsets = _gif_blocks(data)
    controls = [
        data[start:end] for start, end in itertools.pairwise(offsets) if data[start + 1] == _GIF_GRAPHIC_CONTROL
    ]
    return data[: offsets[0]] + b"".join(controls[-1:]) + data[offsets[-1] :]


def check_scans(data: bytes) -> None:
    """Raise InvalidInput for a JPEG of more than MAX_SCANS scans."""
    scans, at = 0, 2
    # A bound that is fast to compute, and exceeds the number of scans only in a file of several megabytes.
    if data.count(bytes((0xFF, _SCAN))) <= MAX_SCANS:
        return
    while (match := _MARKER_AFTER_SCAN.search(data, at)) is not None and data[match.end() - 1] != _END:
        scans += data[match.end() - 1] == _SCAN
        if scans > MAX_SCANS:
            raise InvalidInput(f"the JPEG has more than {MAX_SCANS} scans")
        at = match.end() + int.from_bytes(data[match.end() : match.end() + 2], "big")


def exif_orientation(exif: bytes) -> int:
    """Return the orientation 1..8 of an EXIF block, 1 when it is missing or malformed."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (entries,) = struct.unpack_from(f"{order}H", exif, start)
        for index in range(entries):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, start + 2 + 12 * index)
            if tag == _ORIENTATION_TAG and kind == _SHORT and 1 <= value <= 8:
                return int(value)
    except struct.error:
        return 1
    return 1


def _jpeg(data: bytes) -> Header:
    orientation, has_inverted_ink, at = 1, False, 2
    while True:
        if data[at] != 0xFF:  # stray bytes between segments, which decoders skip as well
            at = data.find(b"\xff", at)
            if at < 0:
                raise IndexError
        marker = data[at + 1]
        if marker == 0xFF:  # fill bytes
            fill = _FILL_BYTES.match(data, at)
            at = fill.end() - 1 if fill else at + 1
            continue
        if marker in _BARE_MARKERS or marker == 0:
            at += 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        body = at + 4
        if marker in _FRAME_MARKERS:
            height, width, components = struct.unpack_from(">HHB", data, body + 1)
            return Header("JPEG", width, height, orientation, components, has_inverted_ink)
        if marker == 0xE1 and data[body : body + 6] == b"Exif\0\0" and orientation == 1:
            orientation = exif_orientation(data[body : at + 2 + length])
        if marker == 0xEE and data[body : body + 5] == b"Adobe":
            has_inverted_ink = True
        at += 2 + length


def _png(data: bytes) -> Header:
    if data[12:16] != b"IHDR":
        raise InvalidInput("the image is corrupt: a PNG must begin with its header chunk")
    width, height = struct.unpack_from(">II", data, 16)
    orientation = 1
    for kind, start, length in _png_chunks(data):
        if kind == b"eXIf":
            orientation = exif_orientation(data[start : start + length])
    return Header("PNG", width, height, orientation)


def _png_chunks(data: bytes) -> list[tuple[bytes, int, int]]:
    """List type, start and length of the content of each chunk, up to the end of the file."""
    chunks: list[tuple[bytes, int, int]] = []
    at = 8
    while at + 8 <= len(data):
        if len(chunks) == MAX_PNG_CHUNKS:
            raise InvalidInput(f"the PNG has more than {MAX_PNG_CHUNKS:,} chunks")
        length, kind = struct.unpack_from(">I4s", data, at)
        chunks.append((kind, at + 8, length))
        at += 12 + length
    return chunks


def _webp(data: bytes) -> Header:
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header("WebP", width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Header("WebP", (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1)
    if kind == b"VP8X":
        if len(data) < 30:
            raise IndexError
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        return Header("WebP", width, height, _webp_orientation(data))
    raise InvalidInput("the image is corrupt: it has the signature of WebP and no image data")


def _webp_orientation(data: bytes) -> int:
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind == b"EXIF":
            return exif_orientation(data[at + 8 : at + 8 + length])
        at += 8 + length + (length & 1)
    return 1


def _gif(data: bytes) -> Header:
    """Return the union of the screen and the first frame, which may extend beyond the screen."""
    width, height = struct.unpack_from("<HH", data, 6)
    *_, at = _gif_blocks(data)
    if data[at] != 0x2C:
        raise InvalidInput("the image is corrupt: it has the signature of GIF and no frame")
    left, top, frame_width, frame_height = struct.unpack_from("<HHHH", data, at + 1)
    return Header("GIF", max(width, left + frame_width), max(height, top + frame_height))


def _gif_blocks(data: bytes) -> list[int]:
    """Return the offset of each extension before the first frame, and that of the frame."""
    (flags,) = struct.unpack_from("<B", data, 10)
    at = 13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    offsets = [at]
    while data[at] == 0x21:  # extensions: a label, then sub-blocks up to an empty one
        at += 2
        while data[at]:
            at += 1 + data[at]
        at += 1
        offsets.append(at)
    return offsets


def _bmp(data: bytes) -> Header:
    (header_bytes,) = struct.unpack_from("<I", data, 14)
    if header_bytes == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return Header("BMP", width, abs(height))

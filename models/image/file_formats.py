"""Headers of image files: format, size and orientation, without decoding.

The module parses headers itself, so that the size is known before a decoder allocates memory, and independent of the
warnings and process-wide limits of Pillow.
"""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from models.errors import InvalidInput, UnsupportedMedia
from models.image import png
from models.image.other_formats import other_format
from models.image.png import Chunk

Format = Literal["JPEG", "PNG", "WebP", "GIF", "BMP"]
READ_FORMATS: Final = "JPEG, PNG, WebP, GIF or BMP"

# The signature of WebP is in two parts.
_SIGNATURES: dict[Format, bytes | tuple[bytes, ...]] = {
    "JPEG": b"\xff\xd8\xff",
    "PNG": png.SIGNATURE,
    "GIF": (b"GIF87a", b"GIF89a"),
    "BMP": b"BM",
}
_ORIENTATION_TAG = 0x0112
_SHORT = 3
# A progressive JPEG has about ten scans. Each one visits every block of the image, and takes 100 bytes of the file.
MAX_SCANS: Final = 100
# The chunks of a WebP that its pixels depend on.
_WEBP_PICTURE = frozenset({b"VP8X", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L"})
# The marker after the data of a scan, in which FF is followed by 00 or by the number of a restart.
_MARKER_AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_GIF_GRAPHIC_CONTROL = 0xF9
_FILL_BYTES = re.compile(rb"\xff+")
_SCAN, _END = 0xDA, 0xD9
_APP0, _APP1, _APP14, _COMMENT = 0xE0, 0xE1, 0xEE, 0xFE
_METADATA = frozenset({*range(_APP1, 0xF0), _COMMENT}) - {_APP14}
_SEQUENTIAL = (0xC0, 0xC1)
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
    name = _format(data)
    if name is None:
        other = other_format(data)
        what = f"{other} files are not read" if other else "not an image that can be read here"
        raise UnsupportedMedia(f"{what}; send {READ_FORMATS}")
    try:
        header = _READERS[name](data)
    except (struct.error, IndexError) as error:
        raise InvalidInput(f"the {name} image is truncated; the file ends inside its header") from error
    if header.width <= 0 or header.height <= 0:
        raise InvalidInput(f"the {name} image is empty; its header states {header.width} x {header.height} pixels")
    return header


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of the content of each segment, up to that of the first scan.

    Raise IndexError or struct.error at the end of the file.
    """
    marker, at = 0, 2
    while marker != _SCAN:
        if data[at] != 0xFF:  # stray bytes between segments, which decoders skip as well
            at = data.find(b"\xff", at)
            if at < 0:
                raise IndexError
        marker = data[at + 1]
        if marker == 0xFF:  # fill bytes
            fill = _FILL_BYTES.match(data, at)
            at = fill.end() - 1 if fill else at + 1
        elif marker in _BARE_MARKERS or marker == 0:
            at += 2
        else:
            (length,) = struct.unpack_from(">H", data, at + 2)
            yield marker, at + 4, at + 2 + length
            at += 2 + length


def picture_segments(data: bytes, components: int) -> bytes:
    """Return a JPEG without metadata and stray bytes before its first scan.

    The markers of JFIF and Adobe, on which colours depend, and the header of a sequential scan get values that libjpeg
    does not warn about.
    """
    parts, is_sequential = [data[:2]], False
    for marker, start, end in jpeg_segments(data):
        content = data[start:end]
        if marker == _SCAN:
            content = content[:-3] + b"\0\x3f\0" if is_sequential else content
            return b"".join((*parts, data[start - 4 : start], content, data[end:]))
        if marker in _METADATA:
            continue
        is_sequential = is_sequential or marker in _SEQUENTIAL
        if marker == _APP0 and content.startswith(b"JFIF\0"):
            content = content[:5] + b"\1\2" + content[7:]
        elif marker == _APP14 and content.startswith(b"Adobe") and content[11:12] > b"\2":
            content = content[:11] + (b"\2" if components == 4 else b"\1") + content[12:]
        parts.append(data[start - 4 : start] + content)
    raise IndexError


def webp_chunks(data: bytes) -> Iterator[Chunk]:
    """Yield the chunks up to the end of the file, which the last one may exceed."""
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        yield Chunk(kind, at + 8, length)
        at += 8 + length + (length & 1)


def webp_picture(data: bytes) -> bytes:
    """Return a WebP without its profile and metadata."""
    if data[12:16] != b"VP8X":
        return data
    parts = [
        data[chunk.start - 8 : chunk.start + chunk.length + (chunk.length & 1)]
        for chunk in webp_chunks(data)
        if chunk.kind in _WEBP_PICTURE
    ]
    # The flags in the first byte of VP8X that remain are those of alpha and animation.
    parts[0] = parts[0][:8] + bytes([parts[0][8] & 0x12]) + parts[0][9:]
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def first_frame(data: bytes) -> bytes:
    """Return a GIF without the extensions before its first frame, except the last one about transparency."""
    offsets = _gif_blocks(data)
    controls = [
        data[start:end] for start, end in itertools.pairwise(offsets) if data[start + 1] == _GIF_GRAPHIC_CONTROL
    ]
    return data[: offsets[0]] + b"".join(controls[-1:]) + data[offsets[-1] :]


def gif_frame(data: bytes) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the first frame on the screen. Raise InvalidInput if there is none."""
    *_, at = _gif_blocks(data)
    if data[at] != 0x2C:
        raise InvalidInput("the image is corrupt: it has the signature of GIF and no frame")
    left, top, width, height = struct.unpack_from("<HHHH", data, at + 1)
    return left, top, left + width, top + height


def gif_data_end(data: bytes) -> int:
    """Return the offset after the pixel data of the first frame. Raise IndexError if the file ends in it."""
    *_, at = _gif_blocks(data)
    flags = data[at + 9]
    return _end_of_blocks(data, at + 11 + _palette_bytes(flags))


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


def _format(data: bytes) -> Format | None:
    for name, signature in _SIGNATURES.items():
        if data.startswith(signature):
            return name
    return "WebP" if data.startswith(b"RIFF") and data[8:12] == b"WEBP" else None


def _jpeg(data: bytes) -> Header:
    orientation, has_inverted_ink = 1, False
    for marker, start, end in jpeg_segments(data):
        if marker in _FRAME_MARKERS:
            height, width, components = struct.unpack_from(">HHB", data, start + 1)
            return Header("JPEG", width, height, orientation, components, has_inverted_ink)
        if marker == _APP1 and data[start : start + 6] == b"Exif\0\0" and orientation == 1:
            orientation = exif_orientation(data[start:end])
        if marker == _APP14 and data[start : start + 5] == b"Adobe":
            has_inverted_ink = True
    raise InvalidInput("the image is corrupt: it has the signature of JPEG, and a scan before its frame header")


def _png(data: bytes) -> Header:
    if data[12:16] != b"IHDR":
        raise InvalidInput("the image is corrupt: a PNG must begin with its header chunk")
    width, height, *_ = struct.unpack_from(">IIBBBBBI", data, 16)
    orientation = 1
    for chunk in png.chunks(data):
        if chunk.kind == b"eXIf":
            orientation = exif_orientation(chunk.content(data))
    return Header("PNG", width, height, orientation)


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
    return next((exif_orientation(chunk.content(data)) for chunk in webp_chunks(data) if chunk.kind == b"EXIF"), 1)


def _gif(data: bytes) -> Header:
    """Return the union of the screen and the first frame, which may extend beyond the screen."""
    width, height = struct.unpack_from("<HH", data, 6)
    _, _, right, bottom = gif_frame(data)
    return Header("GIF", max(width, right), max(height, bottom))


def _gif_blocks(data: bytes) -> list[int]:
    """Return the offset of each extension before the first frame, and that of the frame."""
    (flags,) = struct.unpack_from("<B", data, 10)
    at = 13 + _palette_bytes(flags)
    offsets = [at]
    while data[at] == 0x21:  # an extension: a label, then sub-blocks
        at = _end_of_blocks(data, at + 2)
        offsets.append(at)
    return offsets


def _palette_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _end_of_blocks(data: bytes, at: int) -> int:
    """Return the offset after the sub-blocks at `at`, which end with an empty one."""
    while data[at]:
        at += 1 + data[at]
    return at + 1


def _bmp(data: bytes) -> Header:
    (header_bytes,) = struct.unpack_from("<I", data, 14)
    if header_bytes == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return Header("BMP", width, abs(height))


_READERS: dict[Format, Callable[[bytes], Header]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "WebP": _webp,
    "GIF": _gif,
    "BMP": _bmp,
}

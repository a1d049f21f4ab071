"""The reason why a file cannot be decoded: what its structure lacks, or else what the decoder reports.

It is looked for after a decoder has failed, so that sound files do not pay for it.
"""

from __future__ import annotations

import re
import struct
from typing import Final

from models.errors import InvalidInput
from models.image import png
from models.image.file_formats import Header, gif_data_end, webp_chunks

# Messages of Pillow, and what they mean for the sender of a file.
_REASONS: Final = {
    "image file is truncated": "it is truncated; its pixel data ends too early",
    "Truncated File Read": "it is truncated; the file ends inside its header",
    "not enough image data": "it is truncated; its pixel data ends too early",
}
_DAMAGED: Final = "its pixel data is damaged"
# Messages about properties that a decoder does not read. They are constants of libjpeg and Pillow, and numbers.
_NAMED: Final = re.compile(
    r"(Unsupported|Inconsistent|Bogus|Invalid|Corrupt|Premature|Huffman|Quantization|Unknown|Missing)[^<>]*"
)


def undecodable(data: bytes, header: Header, error: Exception) -> InvalidInput:
    """Return the error for a file that a decoder does not read."""
    reason = _structure_fault(data, header) or _reason(str(error))
    return InvalidInput(f"the {header.format} image cannot be decoded: {reason}")


def _structure_fault(data: bytes, header: Header) -> str | None:
    try:
        if header.format == "PNG":
            return png.fault(data)
        if header.format == "WebP":
            return _webp_fault(data)
        if header.format == "GIF":
            gif_data_end(data)
        if header.format == "BMP":
            return _bmp_fault(data, header)
    except (IndexError, struct.error):
        return "it is truncated; the file ends inside it"
    return None


def _reason(message: str) -> str:
    for start, reason in _REASONS.items():
        if message.startswith(start):
            return reason
    match = _NAMED.match(message)
    return match[0].rstrip(". ") if match else _DAMAGED


def _webp_fault(data: bytes) -> str | None:
    for chunk in webp_chunks(data):
        present = len(data) - chunk.start
        if chunk.length > present:
            return f"it is truncated; its chunk {chunk.name} has {present:,} of {chunk.length:,} bytes"
    return None


def _bmp_fault(data: bytes, header: Header) -> str | None:
    (start, header_bytes) = struct.unpack_from("<II", data, 10)
    if header_bytes == 12:
        (bits,), compression = struct.unpack_from("<H", data, 24), 0
    else:
        bits, compression = struct.unpack_from("<HI", data, 28)
    needed = (header.width * bits + 31) // 32 * 4 * header.height
    if compression in (0, 3) and start + needed > len(data):
        return f"it is truncated; its pixels have {max(0, len(data) - start):,} of {needed:,} bytes"
    return None

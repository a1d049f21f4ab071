"""A file that cannot be decoded gets the check that it fails."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import pytest

from models.errors import InvalidInput
from tests.hostile_files import png_of
from tests.models.image.corpus import bmp, gif, lossy, png
from tests.models.image.pictures import DECODER

PNG, GIF = png.pictures()["png: RGB, 8 bits"].data, gif.pictures()["gif: global palette"].data
BMP = bmp.pictures()["bmp: RGB, 24 bits, header of 40"].data
JPEG, WEBP = (lossy.pictures()[name].data for name in ("jpeg: 420", "webp: RGB, lossy"))
FRAME = JPEG.index(b"\xff\xc0")


def png_like(kind: int, depth: int, *chunks: tuple[bytes, bytes], methods: bytes = bytes(3)) -> bytes:
    header = (b"IHDR", struct.pack(">IIBB", 9, 9, depth, kind) + methods)
    return png_of(header, *chunks, (b"IEND", b""))


def with_byte(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + bytes([value]) + data[at + 1 :]


DATA = (b"IDAT", zlib.compress(bytes(9 * 28)))
FAULTS: dict[str, Callable[[], bytes]] = {
    "truncated; its chunk IDAT has 100 of 1,": lambda: PNG[: PNG.index(b"IDAT") + 104],
    "truncated; the file ends inside its header": lambda: PNG[:30],
    "truncated; it has no chunk IDAT": lambda: png_like(2, 8),
    "truncated; its data unpacks to 100 of 252 bytes": lambda: png_like(2, 8, (b"IDAT", zlib.compress(bytes(100)))),
    "its compressed data is damaged": lambda: png_like(2, 8, (b"IDAT", b"none")),
    "the checksum of its chunk IDAT at byte 33 is wrong": lambda: with_byte(PNG, 60, PNG[60] ^ 1),
    "the checksum of its chunk IHDR at byte 8 is wrong": lambda: with_byte(PNG, 19, 20),
    "its critical chunk CgBI is not part of PNG": lambda: png_like(2, 8, (b"CgBI", b"\0"), (b"IDAT", b"none")),
    "it has no palette of whole colours": lambda: png_like(3, 8, DATA),
    "the colour type 5 with 8 bits, which PNG does not have": lambda: png_like(5, 8, DATA),
    "the colour type 2 with 4 bits, which PNG does not have": lambda: png_like(2, 4, DATA),
    "the methods 0, 0 and 7, which PNG does not have": lambda: png_like(2, 8, DATA, methods=b"\0\0\7"),
    "the JPEG image cannot be decoded: Premature end of JPEG file": lambda: JPEG[:-300],
    "Unsupported JPEG data precision 12": lambda: with_byte(JPEG, FRAME + 4, 12),
    "the JPEG image is truncated; the file ends inside its header": lambda: JPEG[:100],
    "a scan before its frame header": lambda: JPEG[:FRAME] + JPEG[FRAME + 19 :],
    "its chunk VP8 has 180 of": lambda: WEBP[:200],
    "the WebP image cannot be decoded: its pixel data is damaged": lambda: WEBP[:40] + b"\xff" * 400 + WEBP[440:],
    "the GIF image cannot be decoded: it is truncated; the file ends inside it": lambda: GIF[:-20],
    "the GIF image cannot be decoded: its pixel data is damaged": lambda: with_byte(GIF, GIF.index(b"\x2c") + 10, 13),
    "its pixels have 1,290 of 1,344 bytes": lambda: BMP[:-54],
    "Unsupported BMP compression (5)": lambda: with_byte(BMP, 30, 5),
    "Unsupported BMP pixel depth (2)": lambda: with_byte(BMP, 28, 2),
    "the BMP image is empty; its header states 0 x 21 pixels": lambda: with_byte(BMP, 18, 0),
}


@pytest.mark.parametrize("says", FAULTS)
def test_the_check_that_a_file_fails_is_named(says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        DECODER.decode(FAULTS[says]())
    assert says in str(caught.value)


def test_looking_for_the_fault_unpacks_no_more_than_the_pixels() -> None:
    bomb = png_like(2, 8, (b"IDAT", zlib.compress(bytes(1 << 26))), (b"CgBI", b""))
    assert DECODER.decode(bomb).shape == (64, 64, 3)

"""Pictures whose look is known, as files of every kind, and the decoder that tests ask."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from models.image.preprocessing import ImageDecoder, Pixels, Preprocessing

PLAIN = Preprocessing(resize=64, crop=64, interpolation="bilinear")
DECODER = ImageDecoder(PLAIN)
# An orientation of 6, which makes a WebP file write its extended header.
TURNED = b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0"
RED, GREEN, BLUE, YELLOW = (200, 30, 30), (30, 180, 30), (30, 30, 200), (210, 200, 20)


def quarters(width: int = 128, height: int = 128) -> Image.Image:
    """Red and green above, blue and yellow below."""
    image = Image.new("RGB", (width, height), YELLOW)
    image.paste(RED, (0, 0, width // 2, height // 2))
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    return image


def file_of(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def corners(pixels: Pixels) -> list[list[int]]:
    """Top left, top right, bottom left, bottom right."""
    return [pixels[y, x].astype(int).tolist() for y in (12, 52) for x in (12, 52)]


def assert_shows(pixels: Pixels, *colours: tuple[int, int, int], within: int = 14) -> None:
    assert pixels.shape == (64, 64, 3)
    assert pixels.dtype == np.uint8
    np.testing.assert_allclose(corners(pixels), colours, atol=within)


def png_of(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)

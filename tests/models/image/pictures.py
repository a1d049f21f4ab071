"""Test images with known colours, as files of several formats."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from models.image.preprocessing import ImageDecoder, Pixels, Preprocessing

PLAIN = Preprocessing(resize=64, crop=64, interpolation="bilinear")
DECODER = ImageDecoder(PLAIN)
# EXIF with the orientation 6, which forces the extended header of WebP.
TURNED = b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0"
RED, GREEN, BLUE, YELLOW = (200, 30, 30), (30, 180, 30), (30, 30, 200), (210, 200, 20)


def quarters(width: int = 128, height: int = 128) -> Image.Image:
    """Return an image of four colours: red and green on top, blue and yellow at the bottom."""
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
    """Return the colours at the top left, top right, bottom left and bottom right."""
    return [pixels[y, x].astype(int).tolist() for y in (12, 52) for x in (12, 52)]


def assert_shows(pixels: Pixels, *colours: tuple[int, int, int], within: int = 14) -> None:
    assert pixels.shape == (64, 64, 3)
    assert pixels.dtype == np.uint8
    np.testing.assert_allclose(corners(pixels), colours, atol=within)


def png_of(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)

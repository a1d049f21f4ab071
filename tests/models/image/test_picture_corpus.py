"""Every kind of file shows the pixels that its format defines, bit for bit."""

from __future__ import annotations

import struct
import zlib
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from models.image.preprocessing import ImageDecoder, Pixels, Preprocessing
from tests.hostile_files import png_of
from tests.models.image.corpus import bmp, gif, lossy, png
from tests.models.image.corpus.picture import Picture
from tests.models.image.corpus.reference import has_reference, reference_pixels
from tests.models.image.pictures import file_of

CORPUS: dict[str, Picture] = {**png.pictures(), **bmp.pictures(), **gif.pictures(), **lossy.pictures()}
PNG, JPEG, WEBP = CORPUS["png: RGB, 8 bits"], CORPUS["jpeg: 420"], CORPUS["webp: RGB, lossless"]
MORE_THAN_A_MEBIBYTE = zlib.compress(b"x" * ((1 << 20) + 1))
# The pixels (y, x) of the picture at the place of the pixels of the file, by EXIF's orientation.
TURNS = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: pixels[::-1].transpose(1, 0, 2),
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: lambda pixels: pixels[:, ::-1].transpose(1, 0, 2),
}


def shown(data: bytes, side: int) -> Pixels:
    """Return the pixels of a square picture, which is neither scaled nor cropped."""
    return ImageDecoder(Preprocessing(resize=side, crop=side, interpolation="nearest")).decode(data)


@pytest.mark.parametrize("name", CORPUS)
def test_a_picture_shows_its_pixels(name: str) -> None:
    picture = CORPUS[name]
    np.testing.assert_array_equal(shown(picture.data, len(picture.pixels)), picture.pixels)
    if has_reference(picture.data):
        np.testing.assert_array_equal(reference_pixels(picture.data), picture.pixels)


def test_the_corpus_has_every_kind() -> None:
    kinds = Counter(name.partition(":")[0] for name in CORPUS)
    assert kinds == {"png": 52, "bmp": 18, "gif": 10, "jpeg": 25, "webp": 5}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", TURNS)
def test_orientation_turns_every_pixel(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    image = Image.fromarray(WEBP.pixels)
    plain, turned = file_of(image, kind, **options), file_of(image, kind, exif=exif, **options)
    side = len(WEBP.pixels)
    np.testing.assert_array_equal(shown(turned, side), TURNS[orientation](shown(plain, side)))


def with_chunk(kind: bytes, content: bytes, *, has_checksum: bool = True) -> bytes:
    """Return the PNG with a chunk after its header."""
    chunk = png_of((kind, content))[8:]
    return PNG.data[:33] + (chunk if has_checksum else chunk[:-4] + b"none") + PNG.data[33:]


@pytest.mark.parametrize(
    "data",
    [
        with_chunk(b"zTXt", b"workflow\0\0" + MORE_THAN_A_MEBIBYTE),
        with_chunk(b"iTXt", b"workflow\0\1\0\0\0" + MORE_THAN_A_MEBIBYTE),
        with_chunk(b"iCCP", b"icc\0\0" + MORE_THAN_A_MEBIBYTE),
        with_chunk(b"iCCP", b"not compressed"),
        with_chunk(b"tEXt", b"key\0value", has_checksum=False),
        with_chunk(b"gAMA", b""),
        with_chunk(b"eXIf", b"II*\0\xff\xff\xff\xff"),
        with_chunk(b"tRNS", b"\0"),
        with_chunk(b"tRNS", PNG.pixels[0, 1].astype(">u2").tobytes(), has_checksum=False),
        with_chunk(b"PLTE", b"\0", has_checksum=False),
        PNG.data[:-12] + png_of((b"tEXt", bytes(400)))[8:-200],
        PNG.data + bytes(100),
        PNG.data[:-12],
    ],
)
def test_other_chunks_of_a_png_do_not_decide(data: bytes) -> None:
    np.testing.assert_array_equal(shown(data, len(PNG.pixels)), PNG.pixels)


def jpeg_with(segment: bytes) -> bytes:
    return JPEG.data[:2] + segment + JPEG.data[2:]


@pytest.mark.parametrize(
    "data",
    [
        JPEG.data.replace(b"JFIF\0\1\1", b"JFIF\0\2\7"),
        JPEG.data[:20] + bytes(3) + JPEG.data[20:],
        jpeg_with(b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\x09"),
        jpeg_with(b"\xff\xe2\0\x10ICC_PROFILE\0\7\3"),
        jpeg_with(b"\xff\xe1\0\x0cExif\0\0II*\0"),
        JPEG.data.replace(b"JFIF\0\1\1", b"JFIF\0\2\7") + bytes(50),
        JPEG.data.replace(b"\3\x11\0\x3f\0", b"\3\x11\0\0\0"),
    ],
)
def test_other_segments_of_a_jpeg_do_not_decide(data: bytes) -> None:
    assert data != JPEG.data
    np.testing.assert_array_equal(shown(data, len(JPEG.pixels)), JPEG.pixels)


def test_metadata_of_a_webp_does_not_decide() -> None:
    picture = CORPUS["webp: RGB, lossy, metadata"]
    assert b"XMP " in picture.data[-20:]
    np.testing.assert_array_equal(shown(picture.data[:-3], len(picture.pixels)), picture.pixels)
    profile = picture.data.index(b"ICCP")
    other = picture.data[:profile] + b"none" + struct.pack("<I", 300) + picture.data[profile + 8 :]
    np.testing.assert_array_equal(shown(other, len(picture.pixels)), picture.pixels)

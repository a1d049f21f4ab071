"""Files of other formats, damaged images and too large images are refused."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models.errors import InputError, InputTooLarge, InvalidInput, UnsupportedMedia
from models.image.preprocessing import ImageDecoder
from tests.models.image.pictures import DECODER, PLAIN, TURNED, file_of, png_of, quarters


@pytest.mark.parametrize("data", [b"", b"hello", b"<html></html>", b"\x00" * 64, b"\0\0\0\x18ftypwhat"])
def test_another_format_is_unsupported(data: bytes) -> None:
    with pytest.raises(UnsupportedMedia, match="not an image that can be read here; send JPEG, PNG, WebP, GIF or BMP"):
        DECODER.decode(data)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (file_of(quarters(), "AVIF"), "AVIF"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "AVIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1miaf", "HEIC"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "Video"),
        (file_of(quarters(), "TIFF"), "TIFF"),
        (b"MM\0*\0\0\0\x08", "TIFF"),
        (file_of(quarters(), "JPEG2000"), "JPEG 2000"),
        (file_of(quarters(), "JPEG2000", no_jp2=True), "JPEG 2000"),
        (b"\xff\x0a\xfa\x7f", "JPEG XL"),
        (file_of(quarters(), "ICO"), "ICO"),
        (b"%PDF-1.7", "PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<?xml version='1.0'?>\n<!-- drawn --><svg/>", "SVG"),
    ],
)
def test_a_known_format_that_is_not_read_is_named(data: bytes, name: str) -> None:
    with pytest.raises(UnsupportedMedia, match=f"^{name} files are not read; send JPEG, PNG, WebP, GIF or BMP$"):
        DECODER.decode(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_a_truncated_image_is_invalid(kind: str, share: float) -> None:
    random = np.random.default_rng(2)
    image = Image.fromarray(random.integers(0, 256, (128, 128, 3), dtype=np.uint8))
    data = file_of(image, kind)
    with pytest.raises((InvalidInput, UnsupportedMedia)) as caught:
        DECODER.decode(data[: max(3, int(len(data) * share))])
    assert share < 0.1 or isinstance(caught.value, InvalidInput)


def bombs() -> dict[str, bytes]:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    jpeg = bytearray(file_of(quarters(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 65_000, 65_000)
    gif = bytearray(file_of(quarters(), "GIF"))
    at = gif.index(b"\x2c\0\0\0\0\x80\0\x80\0")
    gif[at + 5 : at + 9] = struct.pack("<HH", 65_000, 65_000)
    bmp = bytearray(file_of(quarters(), "BMP"))
    bmp[18:26] = struct.pack("<ii", 90_000, -90_000)
    webp = bytearray(file_of(quarters().convert("RGBA"), "WEBP", exif=TURNED))
    webp[24:30] = (16_000).to_bytes(3, "little") * 2
    return {
        "png": png_of((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1_000)), (b"IEND", b"")),
        "jpeg": bytes(jpeg),
        "gif frame": bytes(gif),
        "gif screen": b"GIF89a" + struct.pack("<HH", 65_000, 65_000) + bytes(gif[10:]),
        "bmp": bytes(bmp),
        "webp": bytes(webp),
    }


@pytest.mark.parametrize("kind", bombs())
def test_a_bomb_is_refused_by_its_header(kind: str) -> None:
    with pytest.raises(InputTooLarge, match="at most 50,000,000"):
        DECODER.decode(bombs()[kind])


def test_the_limit_is_a_parameter() -> None:
    data = file_of(quarters(), "PNG")
    assert ImageDecoder(PLAIN, max_pixels=128 * 128).decode(data).shape == (64, 64, 3)
    with pytest.raises(InputTooLarge, match="128 x 128"):
        ImageDecoder(PLAIN, max_pixels=128 * 128 - 1).decode(data)


SEEDS = [
    *(file_of(quarters(40, 30), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP")),
    file_of(quarters(40, 30), "JPEG", progressive=True, exif=TURNED),
    file_of(quarters(40, 30).quantize(4), "PNG", transparency=1),
    file_of(quarters(9, 9).convert("CMYK"), "JPEG"),
]


@pytest.mark.slow
@given(data=st.binary(max_size=200), seed=st.sampled_from(SEEDS), at=st.integers(0, 400), length=st.integers(0, 60))
@settings(max_examples=1_500)
def test_any_bytes_raise_only_input_errors(data: bytes, seed: bytes, at: int, length: int) -> None:
    at %= len(seed)
    for altered in (data, seed[:12] + data, seed[:at] + data + seed[at + length :]):
        try:
            pixels = ImageDecoder(PLAIN, max_pixels=1_000_000).decode(altered)
        except InputError as error:
            assert str(error)  # noqa: PT017
        else:
            assert pixels.shape == (64, 64, 3)

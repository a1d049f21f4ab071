"""Decoding and preprocessing of image files of every format."""

from __future__ import annotations

import struct
import subprocess
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.errors import ArtifactInvalid
from models.image.preprocessing import ImageDecoder, Preprocessing, read_preprocessing, write_preprocessing
from tests.models.image.pictures import (
    BLUE,
    DECODER,
    GREEN,
    PLAIN,
    RED,
    YELLOW,
    assert_shows,
    corners,
    file_of,
    png_of,
    quarters,
)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 95}),
        ("JPEG", {"quality": 95, "progressive": True}),
        ("PNG", {}),
        ("WEBP", {"quality": 95}),
        ("WEBP", {"lossless": True}),
        ("GIF", {}),
        ("BMP", {}),
    ],
)
def test_every_format_shows_the_same_picture(kind: str, options: dict[str, object]) -> None:
    assert_shows(DECODER.decode(file_of(quarters(), kind, **options)), RED, GREEN, BLUE, YELLOW)


def test_the_first_frame_of_an_animation_is_shown() -> None:
    frames = [Image.new("RGB", (128, 128), BLUE), Image.new("RGB", (128, 128), YELLOW)]
    for kind in ("GIF", "WEBP", "PNG"):
        data = file_of(quarters(), kind, save_all=True, append_images=frames)
        assert_shows(DECODER.decode(data), RED, GREEN, BLUE, YELLOW)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_grey_is_shown_in_three_equal_channels(kind: str) -> None:
    pixels = DECODER.decode(file_of(quarters().convert("L"), kind))
    grey = [int(v) for v in np.asarray(quarters().convert("L"))[[20, 20, 100, 100], [20, 100, 20, 100]]]
    assert_shows(pixels, *((v, v, v) for v in grey))


def test_cmyk_and_inverted_cmyk_are_shown_in_their_colours() -> None:
    ink = quarters().convert("CMYK")
    assert_shows(DECODER.decode(file_of(ink, "JPEG", quality=95)), RED, GREEN, BLUE, YELLOW)
    photoshop = file_of(Image.fromarray(255 - np.asarray(ink), "CMYK"), "JPEG", quality=95)
    # Pillow inverts CMYK and writes the marker of Adobe; without the marker CMYK is not inverted.
    start = photoshop.index(b"\xff\xee")
    (length,) = struct.unpack_from(">H", photoshop, start + 2)
    bare = photoshop[:start] + photoshop[start + 2 + length :]
    assert_shows(DECODER.decode(bare), RED, GREEN, BLUE, YELLOW)


def test_sixteen_bits_are_scaled_to_eight() -> None:
    values = np.full((128, 128), 40_000, np.uint16)
    values[64:] = 1_000
    assert_shows(DECODER.decode(file_of(Image.fromarray(values), "PNG")), *[(156,) * 3] * 2, *[(3,) * 3] * 2, within=1)


def test_sixteen_bit_colour_is_scaled_to_eight() -> None:
    rows = b"".join(b"\0" + struct.pack(">3H", 65535, 32768, 256) * 80 for _ in range(80))
    header = struct.pack(">IIBBBBB", 80, 80, 16, 2, 0, 0, 0)
    data = png_of((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    assert_shows(DECODER.decode(data), *[(255, 128, 1)] * 4, within=1)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
def test_transparency_shows_white(mode: str) -> None:
    if mode == "P":
        image = quarters().quantize(4)
        data = file_of(image, "PNG", transparency=image.getpixel((10, 10)))
    elif mode == "RGB":
        data = file_of(quarters(), "PNG", transparency=RED)
    else:
        image = quarters().convert(mode)
        alpha = Image.new("L", (128, 128), 255)
        alpha.paste(0, (0, 0, 64, 64))
        image.putalpha(alpha)
        data = file_of(image, "PNG")
    assert corners(DECODER.decode(data))[0] == [255, 255, 255]
    assert corners(DECODER.decode(data))[3] != [255, 255, 255]


def test_half_transparency_is_half_white() -> None:
    data = file_of(Image.new("RGBA", (70, 70), (0, 0, 0, 128)), "WEBP", lossless=True)
    assert_shows(DECODER.decode(data), *[(127, 127, 127)] * 4, within=2)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_honoured(kind: str, orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = quarters().transpose(undo[orientation]) if orientation in undo else quarters()
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert_shows(DECODER.decode(file_of(stored, kind, exif=exif)), RED, GREEN, BLUE, YELLOW, within=30)


def test_malformed_orientation_is_ignored() -> None:
    for exif in (b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\0\xff"):
        assert_shows(DECODER.decode(file_of(quarters(), "JPEG", quality=95, exif=exif)), RED, GREEN, BLUE, YELLOW)


@pytest.mark.parametrize("size", [(90, 300), (301, 77), (64, 64), (20, 9), (1, 1), (3000, 40)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_any_size_gives_the_same_shape(size: tuple[int, int], kind: str) -> None:
    assert DECODER.decode(file_of(quarters(*size), kind)).shape == (64, 64, 3)


def test_resize_and_crop_are_those_of_torchvision() -> None:
    random = np.random.default_rng(0)
    for size in ((300, 200), (211, 333), (64, 97)):
        small = Image.fromarray(random.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        image = small.resize(size, Image.Resampling.BICUBIC)
        preprocessing = Preprocessing(resize=80, crop=64, interpolation="bilinear")
        shorter = min(size)
        scaled = (80 * size[0] // shorter, 80 * size[1] // shorter)
        left, top = (round((side - 64) / 2) for side in scaled)
        expected = image.resize(scaled, Image.Resampling.BILINEAR).crop((left, top, left + 64, top + 64))
        decoded = ImageDecoder(preprocessing).decode(file_of(image, "PNG"))
        np.testing.assert_allclose(decoded.astype(int), np.asarray(expected).astype(int), atol=2)


def test_a_scaled_jpeg_differs_little_from_a_whole_one() -> None:
    random = np.random.default_rng(1)
    image = Image.fromarray(random.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize((1000, 800))
    data = file_of(image, "JPEG", quality=90)
    whole = ImageDecoder(PLAIN, margin=None).decode(data).astype(int)
    assert np.abs(DECODER.decode(data).astype(int) - whole).mean() < 1.0


def test_stray_bytes_in_a_jpeg_are_ignored() -> None:
    data = file_of(quarters(), "JPEG", quality=95)
    assert_shows(DECODER.decode(data + b"\0" * 50), RED, GREEN, BLUE, YELLOW)
    stray = data[:2] + b"\xff\xfe\x00\x04ab" + data[2:]
    assert_shows(DECODER.decode(stray), RED, GREEN, BLUE, YELLOW)


@pytest.mark.slow
def test_a_large_image_below_the_limit_does_not_warn() -> None:
    data = file_of(Image.new("L", (10_000, 9_500)), "PNG", compress_level=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ImageDecoder(PLAIN, max_pixels=100_000_000).decode(data).shape == (64, 64, 3)


def test_concurrent_calls_return_their_own_results() -> None:
    files = [file_of(Image.new("RGB", (100, 100), (i, 0, 255 - i)), "PNG") for i in range(0, 250, 5)]
    with ThreadPoolExecutor(8) as pool:
        decoded = list(pool.map(DECODER.decode, files * 4))
    assert [int(pixels[30, 30, 0]) for pixels in decoded] == list(range(0, 250, 5)) * 4


def test_preprocessing_is_unchanged_after_writing_and_reading(tmp_path: Path) -> None:
    preprocessing = Preprocessing(40, 32, "nearest", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    write_preprocessing(preprocessing, tmp_path)
    assert read_preprocessing(tmp_path) == preprocessing
    (tmp_path / "preprocessing.json").write_text('{"resize": "large"}')
    with pytest.raises(ArtifactInvalid, match="malformed"):
        read_preprocessing(tmp_path)
    (tmp_path / "preprocessing.json").unlink()
    with pytest.raises(ArtifactInvalid, match="has no"):
        read_preprocessing(tmp_path)


@pytest.mark.parametrize("fault", [{"crop": 300}, {"crop": 0}, {"std": (0.0, 1.0, 1.0)}])
def test_invalid_preprocessing_is_refused(fault: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Preprocessing(**fault)  # type: ignore[arg-type]


def test_decoding_loads_no_runtime() -> None:
    code = (
        "import sys, models.image.preprocessing; print(sorted({'torch', 'openvino', 'torchvision'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"

"""Decoding an image takes a bounded memory, in bytes, which is returned afterwards."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.errors import InputTooLarge, InvalidInput
from models.image.decode_memory import DecodeMemory
from models.image.file_formats import read_header
from models.image.preprocessing import ImageDecoder, Preprocessing
from tests import hostile_files
from tests.hostile_files import IMAGES
from tests.models.image.pictures import PLAIN, TURNED, file_of

ROOT = Path(__file__).parents[3]
# Decodes once, then in two threads, and prints the peak and the remaining memory, in MiB more than before.
MEASURE = """
import gc, re, resource, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from models.errors import InputError
from models.image.preprocessing import ImageDecoder, Preprocessing
from serving.process.startup import return_freed_memory
from tests.models.image.pictures import file_of, quarters

def memory(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) >> 10

def decode(data):
    try:
        decoder.decode(data)
    except InputError as error:
        print(error, file=sys.stderr)

return_freed_memory()
data = Path(sys.argv[1]).read_bytes()
decoder = ImageDecoder(Preprocessing())
for kind in ("PNG", "WEBP", "GIF", "JPEG"):
    decode(file_of(quarters(), kind))
before = memory("VmRSS")
decode(data)
peak = memory("VmHWM")
with ThreadPoolExecutor(2) as threads:
    list(threads.map(decode, [data, data]))
gc.collect()
print(peak - before, memory("VmRSS") - before)
"""
HOSTILE = {name: make for name, (_, make) in IMAGES.items()} | {
    "jpeg: progressive": lambda: file_of(Image.new("RGB", (4096, 4096)), "JPEG", progressive=True),
    "jpeg: narrow": lambda: file_of(Image.new("RGB", (64, 60_000)), "JPEG"),
    "png: turned": lambda: file_of(Image.new("RGBA", (3000, 3000)), "PNG", exif=TURNED),
    "webp: RGB": partial(hostile_files.webp, 4096, mode="RGB"),
}


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("name", HOSTILE)
def test_an_image_takes_the_memory_that_its_header_states_and_returns_it(name: str, tmp_path: Path) -> None:
    data = HOSTILE[name]()
    try:
        stated_mib = ImageDecoder(Preprocessing()).decode_bytes(read_header(data)) >> 20
    except InvalidInput:
        stated_mib = 0
    (tmp_path / "image").write_bytes(data)

    command = [sys.executable, "-c", MEASURE, str(tmp_path / "image")]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    peak_mib, left_mib = map(int, output.split())

    # In addition to the memory of its pixels: a copy of the file, and the positions of its parts.
    assert peak_mib <= stated_mib * 1.05 + 48
    assert left_mib < 64


def test_an_image_that_takes_more_memory_than_allowed_is_refused_before_decoding() -> None:
    data = hostile_files.png("RGBA", 1000)
    decoder = ImageDecoder(PLAIN, memory=DecodeMemory(8_000_000))
    assert decoder.decode(data).shape == PLAIN.shape
    with pytest.raises(InputTooLarge, match="takes about 7 MiB to decode; at most 3 are accepted"):
        ImageDecoder(PLAIN, memory=DecodeMemory(4_000_000)).decode(data)


def test_decoders_wait_for_the_memory_that_they_share() -> None:
    memory = DecodeMemory(100)
    order: list[str] = []

    def decode(name: str, size: int) -> None:
        with memory.reserve(size):
            order.append(name)

    with memory.reserve(60):
        large = threading.Thread(target=decode, args=("large", 80))
        large.start()
        # A later small one does not pass a large one, which would wait forever under load.
        small = threading.Thread(target=decode, args=("small", 10))
        while not memory._turn.locked():
            pass
        small.start()
        small.join(0.1)
        assert order == []
    large.join()
    small.join()
    assert order == ["large", "small"]


def test_memory_is_free_again_after_an_error() -> None:
    memory = DecodeMemory(1 << 20)
    decoder = ImageDecoder(PLAIN, memory=memory)
    data = hostile_files.png("RGB", 300)
    for _ in range(5):
        with pytest.raises(InvalidInput):
            decoder.decode(data[:-30])
    assert decoder.decode(data).shape == PLAIN.shape


@pytest.mark.parametrize(
    ("make", "says"),
    [(hostile_files.jpeg_of_scans, "more than 100 scans"), (hostile_files.png_of_chunks, "more than 100,000 chunks")],
)
def test_files_of_many_parts_are_refused(make: partial[bytes], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        ImageDecoder(PLAIN).decode(make())


def test_bytes_that_look_like_scans_do_not_count() -> None:
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = file_of(picture, "JPEG", progressive=True, comment=b"\xff\xda" * 500)
    expected = ImageDecoder(PLAIN).decode(file_of(picture, "JPEG", progressive=True))
    np.testing.assert_array_equal(ImageDecoder(PLAIN).decode(data + b"\xff\xda" * 500), expected)


@pytest.mark.slow
@pytest.mark.parametrize("make", [hostile_files.png_of_profiles, hostile_files.gif_of_extensions])
def test_parts_that_are_not_about_pixels_are_not_read(make: partial[bytes]) -> None:
    data = make()
    begun = time.thread_time()
    ImageDecoder(PLAIN).decode(data)
    # The profiles took 20 s.
    assert time.thread_time() - begun < 5


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "L;16"])
@pytest.mark.parametrize("height", [700, 701])
def test_strips_have_the_same_pixels_as_the_whole(mode: str, height: int) -> None:
    values = np.random.default_rng(0).integers(0, 256, (height, 1000, 4), dtype=np.uint8)
    if mode == "L;16":
        picture = Image.fromarray(values[..., :2].copy().view(np.uint16)[..., 0])
        expected = Image.fromarray(values[..., 1]).convert("RGB")
    else:
        picture = Image.fromarray(values, "RGBA").convert(mode)
        layer = picture.convert("RGBA")
        expected = Image.new("RGB", picture.size, (255, 255, 255))
        expected.paste(layer, mask=layer.getchannel("A"))
    decoder = ImageDecoder(PLAIN)
    np.testing.assert_array_equal(decoder.decode(file_of(picture, "PNG")), decoder.decode(file_of(expected, "PNG")))

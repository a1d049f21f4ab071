"""JPEG and WebP files with the pixels that the reference decoders make of them. An encoder writes them once:

    python -m tests.models.image.corpus.lossy    # needs cjpeg, djpeg, jpegtran and dwebp

The archive next to this module holds the files and the pixels, so that neither another version of an encoder nor a
machine without these tools changes the test.
"""

from __future__ import annotations

import io
import itertools
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg  # type: ignore[import-untyped]  # a Cython module
from PIL import Image

from models.image.preprocessing import Pixels
from tests.models.image.corpus.picture import Picture, Pictures
from tests.models.image.corpus.reference import reference_pixels

ARCHIVE = Path(__file__).with_name("lossy.npz")
# Three blocks of the coarsest sampling, and a part of one.
SIDE = 53
_SAMPLINGS = ("444", "422", "420", "440", "411")


def pictures() -> Pictures:
    """Return the pictures of the archive."""
    with np.load(ARCHIVE) as archive:
        names = sorted(name.removesuffix("/file") for name in archive if name.endswith("/file"))
        return {name: Picture(archive[f"{name}/file"].tobytes(), archive[f"{name}/pixels"]) for name in names}


def files() -> dict[str, bytes]:
    """Return a file of each kind."""
    return {**_jpegs(), **_webps()}


def photograph(channels: int = 3) -> Pixels:
    """Return soft colours, an edge, and noise."""
    random = np.random.default_rng(channels)
    soft = Image.fromarray(random.integers(0, 256, (5, 5, 4), dtype=np.uint8), "CMYK").resize((SIDE, SIDE))
    values = np.asarray(soft).astype(int) + random.integers(-12, 13, (SIDE, SIDE, 4))
    values[SIDE // 2 :, : SIDE // 3] = 255 - values[SIDE // 2 :, : SIDE // 3]
    return np.ascontiguousarray(np.clip(values, 0, 255).astype(np.uint8)[..., :channels])


def _jpegs() -> dict[str, bytes]:
    made = {}
    for sampling in _SAMPLINGS:
        made[f"jpeg: {sampling}"] = simplejpeg.encode_jpeg(
            photograph(), 80, colorspace="RGB", colorsubsampling=sampling
        )
    made["jpeg: grey"] = _saved(Image.fromarray(photograph(1)[..., 0]), "JPEG")
    made["jpeg: RGB"] = _saved(Image.fromarray(photograph()), "JPEG", keep_rgb=True)
    made["jpeg: CMYK"] = cmyk = _saved(Image.fromarray(photograph(4), "CMYK"), "JPEG")
    at = cmyk.index(b"\xff\xee") + 15
    made["jpeg: YCCK"] = cmyk[:at] + b"\2" + cmyk[at + 1 :]
    for name, data in list(made.items()):
        made[f"{name}, progressive"] = _transcoded(data, "-progressive")
    for name in ("jpeg: 420", "jpeg: grey", "jpeg: 420, progressive"):
        made[f"{name}, restarts"] = _transcoded(made[name], "-restart", "2B")
    # Samplings for which libjpeg-turbo has no name.
    for sampling in ("4x2", "2x2,2x1,1x2", "1x1,2x2,2x2"):
        made[f"jpeg: {sampling}"] = _piped(_saved(Image.fromarray(photograph()), "PPM"), "cjpeg", "-sample", sampling)
    made["jpeg: 420, arithmetic"] = _transcoded(made["jpeg: 420"], "-arithmetic")
    return made


def _webps() -> dict[str, bytes]:
    whole, clear = Image.fromarray(photograph()), Image.fromarray(photograph(4), "RGBA")
    made = {}
    for (name, image), lossless in itertools.product({"RGB": whole, "RGBA": clear}.items(), (False, True)):
        kind = f"webp: {name}, lossless" if lossless else f"webp: {name}, lossy"
        made[kind] = _saved(image, "WEBP", lossless=lossless, quality=80, exact=True)
    made["webp: RGB, lossy, metadata"] = _saved(whole, "WEBP", xmp=b"<x/>", icc_profile=bytes(300))
    return made


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _transcoded(data: bytes, *options: str) -> bytes:
    return _piped(data, "jpegtran", *options)


def _piped(data: bytes, *command: str) -> bytes:
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


def main() -> None:
    """Write the archive."""
    arrays: dict[str, Any] = {}  # Any: savez takes a flag by keyword too
    for name, data in files().items():
        arrays[f"{name}/file"] = np.frombuffer(data, np.uint8)
        arrays[f"{name}/pixels"] = reference_pixels(data)
    np.savez_compressed(ARCHIVE, **arrays)


if __name__ == "__main__":
    main()

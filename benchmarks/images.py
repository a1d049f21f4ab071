"""JPEG files of a given size, made from the photographs of the repository. The files are the same in every run."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

_FOLDER = Path(__file__).parent.parent / "docs" / "images"
_SEED = 3
_QUALITY = 90
# Enlarged photographs are smoother than original ones and decode faster; noise compensates for this.
_NOISE = 5.0


def jpeg_images(size: tuple[int, int], count: int) -> list[bytes]:
    """Return `count` different JPEG files of (width, height). Raises FileNotFoundError without the photographs."""
    from PIL import Image

    sources = sorted(_FOLDER.glob("*.jpg"))
    if not sources:
        raise FileNotFoundError("no photographs in docs/images")
    random = np.random.default_rng(_SEED)
    files = []
    for number in range(count):
        image = Image.open(sources[number % len(sources)]).convert("RGB")
        scale = float(random.uniform(0.85, 1.0))
        width, height = image.width * scale, image.height * scale
        left, top = random.uniform(0, image.width - width), random.uniform(0, image.height - height)
        resized = image.resize(size, Image.Resampling.BICUBIC, (left, top, left + width, top + height))
        noisy = np.asarray(resized, np.float32) + random.normal(scale=_NOISE, size=(size[1], size[0], 3))
        output = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(output, "JPEG", quality=_QUALITY)
        files.append(output.getvalue())
    return files

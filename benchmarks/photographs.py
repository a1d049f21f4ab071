"""JPEG files of a wanted size, cut from the repository's photographs. The same bytes every time."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

_FOLDER = Path(__file__).parent.parent / "docs" / "images"
_SEED = 3
_QUALITY = 90
# Enlarged photographs are smoother than real ones of that size, and so quicker to decode; grain makes up for it.
_GRAIN = 5.0


def photographs(size: tuple[int, int], count: int) -> list[bytes]:
    """`count` different JPEG files of (width, height). Raises FileNotFoundError without the photographs."""
    from PIL import Image

    sources = sorted(_FOLDER.glob("*.jpg"))
    if not sources:
        raise FileNotFoundError("no photographs in docs/images")
    random = np.random.default_rng(_SEED)
    made = []
    for number in range(count):
        image = Image.open(sources[number % len(sources)]).convert("RGB")
        share = float(random.uniform(0.85, 1.0))
        width, height = image.width * share, image.height * share
        left, top = random.uniform(0, image.width - width), random.uniform(0, image.height - height)
        resized = image.resize(size, Image.Resampling.BICUBIC, (left, top, left + width, top + height))
        grainy = np.asarray(resized, np.float32) + random.normal(scale=_GRAIN, size=(size[1], size[0], 3))
        output = io.BytesIO()
        Image.fromarray(grainy.clip(0, 255).astype(np.uint8)).save(output, "JPEG", quality=_QUALITY)
        made.append(output.getvalue())
    return made

"""Photographs from scikit-image and scikit-learn, on which runtimes are compared.

They show whether a network recognises objects. They are too few to estimate its accuracy.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.image.preprocessing import ImageDecoder, Pixels, Preprocessing
from models.store.manifest import file_sha256


@dataclass(frozen=True, slots=True)
class Photograph:
    """A photograph in a file of a package, with the ImageNet labels that are correct for it, if any."""

    name: str
    package: str
    file: str
    labels: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Return the file. Raises ModuleNotFoundError when the package is not installed."""
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"the package {self.package} with the photograph '{self.name}' is not installed")
        return Path(spec.origin).parent / self.file


PHOTOGRAPHS = (
    Photograph("chelsea", "skimage", "data/chelsea.png", ("tabby", "tiger cat", "Egyptian cat")),
    Photograph("coffee", "skimage", "data/coffee.png", ("espresso", "cup", "coffee mug")),
    Photograph("rocket", "skimage", "data/rocket.jpg", ("missile", "projectile")),
    Photograph("motorcycle", "skimage", "data/motorcycle_left.png", ("moped", "motor scooter")),
    Photograph("astronaut", "skimage", "data/astronaut.png"),
    Photograph("hubble", "skimage", "data/hubble_deep_field.jpg"),
    Photograph("retina", "skimage", "data/retina.jpg"),
    Photograph("china", "sklearn.datasets", "images/china.jpg"),
    Photograph("flower", "sklearn.datasets", "images/flower.jpg"),
)


@dataclass(frozen=True, slots=True)
class Views:
    """Pixels (N, H, W, 3) of photographs and of crops of them. `of[i]` is the index of view i's photograph."""

    pixels: Pixels
    of: NDArray[np.int64]


@lru_cache(maxsize=2)
def views(preprocessing: Preprocessing, *, shares: tuple[float, ...] = (0.8, 0.6)) -> Views:
    """Return 22 views of each photograph, decoded as serving does: the whole and ten crops, each also mirrored.

    Crops are at the corners and the centre; their sides are `shares` of the shorter side. Decoding takes 3 s, so that
    the views are cached; do not change them.
    """
    decoder = ImageDecoder(preprocessing)
    pixels, of = [], []
    for index, photograph in enumerate(PHOTOGRAPHS):
        data = photograph.path.read_bytes()
        for view in (decoder.decode(data), *(decoder.decode(crop) for crop in _crops(data, shares))):
            pixels += [view, view[:, ::-1]]
            of += [index, index]
    return Views(np.stack(pixels), np.array(of))


def photographs_sha256() -> str:
    """Return one hash of all photographs."""
    return hashlib.sha256("".join(file_sha256(photograph.path) for photograph in PHOTOGRAPHS).encode()).hexdigest()


def _crops(data: bytes, shares: tuple[float, ...]) -> Iterator[bytes]:
    """Yield crops at the corners and the centre, as PNG files."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    for share in shares:
        side = int(min(image.size) * share)
        free = (image.width - side, image.height - side)
        for across, down in ((0, 0), (1, 0), (0, 1), (1, 1), (0.5, 0.5)):
            left, top = int(free[0] * across), int(free[1] * down)
            file = io.BytesIO()
            image.crop((left, top, left + side, top + side)).save(file, "PNG", compress_level=1)
            yield file.getvalue()

"""One version of an image classifier in the gateway: its card, and how image files become its pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from models.card import Card
from models.image.decode_memory import DecodeMemory
from models.image.preprocessing import ImageDecoder, read_preprocessing
from models.store.artifacts import Artifact

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ImageVersion:
    """The card of a version, and its decoder.

    `decode` returns the uint8 (H, W, 3) that the model takes from an image file, and raises InputError; `fit` returns
    the same from pixels, uint8 (H, W, 3) of any size. Both run in threads. Versions with an equal `preprocessing`
    decode to equal pixels.
    """

    card: Card
    decode: Callable[[bytes], Pixels]
    fit: Callable[[Pixels], Pixels]
    preprocessing: object = None


def image_version(artifact: Artifact, *, max_pixels: int, max_decode_bytes: int) -> ImageVersion:
    """Return what belongs to `artifact`. All versions share `max_decode_bytes`."""
    preprocessing = read_preprocessing(artifact.folder)
    decoder = ImageDecoder(preprocessing, max_pixels=max_pixels, memory=_memory(max_decode_bytes))
    return ImageVersion(artifact.card, decoder.decode, decoder.fit, decoder.preprocessing)


@cache
def _memory(max_bytes: int) -> DecodeMemory:
    """Return the memory of this process."""
    return DecodeMemory(max_bytes)

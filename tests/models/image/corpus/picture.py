"""A picture of the corpus, and the colours that its files are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.image.preprocessing import Pixels

# Odd, so that rows end inside a byte, a block of JPEG and a pass of Adam7.
SIDE = 21
Samples = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Picture:
    """A file, and the pixels (side, side, 3) that it shows on white."""

    data: bytes
    pixels: Pixels


Pictures = Mapping[str, Picture]


def samples(channels: int, depth: int, side: int = SIDE) -> Samples:
    """Return samples (side, side, channels) of `depth` bits: the lowest, the highest, and many between."""
    values: Samples = np.random.default_rng(channels * 100 + depth).integers(0, 1 << depth, (side, side, channels))
    values[0, 0], values[-1, -1] = 0, (1 << depth) - 1
    return values


def eight_bits(values: Samples, depth: int) -> Samples:
    """Return samples of `depth` bits in eight: low ones are stretched, of 16 bits the upper eight remain."""
    return values >> 8 if depth == 16 else values * 255 // ((1 << depth) - 1)


def on_white(colours: Samples, alpha: Samples) -> Pixels:
    """Return RGB (side, side, 3) with `alpha` (side, side) of 0..255 in front of white."""
    share = alpha[..., None]
    return np.broadcast_to((colours * share + 255 * (255 - share) + 127) // 255, (*alpha.shape, 3)).astype(np.uint8)

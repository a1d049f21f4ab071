"""PNG files of every colour type, depth and transparency, plain and interlaced (W3C PNG, third edition, 11.2)."""

from __future__ import annotations

import itertools
import struct
import zlib

import numpy as np

from tests.hostile_files import png_of
from tests.models.image.corpus.picture import SIDE, Picture, Pictures, Samples, eight_bits, on_white, samples

GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, COLOUR: 3, PALETTE: 1, GREY_ALPHA: 2, COLOUR_ALPHA: 4}
DEPTHS = {
    GREY: (1, 2, 4, 8, 16),
    COLOUR: (8, 16),
    PALETTE: (1, 2, 4, 8),
    GREY_ALPHA: (8, 16),
    COLOUR_ALPHA: (8, 16),
}
NAMES = {GREY: "grey", COLOUR: "RGB", PALETTE: "palette", GREY_ALPHA: "grey and alpha", COLOUR_ALPHA: "RGBA"}
# First row, first column, step of rows and of columns of each pass of Adam7.
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def pictures() -> Pictures:
    """Return a picture for each combination that the standard allows."""
    made: dict[str, Picture] = {}
    for kind, depths in DEPTHS.items():
        transparencies = (False, True) if kind in (GREY, COLOUR, PALETTE) else (False,)
        for depth, interlaced, transparent in itertools.product(depths, (False, True), transparencies):
            name = f"png: {NAMES[kind]}, {depth} bits" + ", transparent" * transparent + ", interlaced" * interlaced
            made[name] = _picture(kind, depth, interlaced=interlaced, transparent=transparent)
    return made


def png(kind: int, depth: int, values: Samples, *extra: tuple[bytes, bytes], interlaced: bool = False) -> bytes:
    """Return a PNG of `values` (height, width, channels) with `extra` chunks before its data."""
    height, width, _ = values.shape
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced)
    passes = [values[y::dy, x::dx] for y, x, dy, dx in _ADAM7] if interlaced else [values]
    rows = b"".join(_rows(part, depth) for part in passes if part.size)
    return png_of((b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b""))


def _picture(kind: int, depth: int, *, interlaced: bool, transparent: bool) -> Picture:
    values = samples(CHANNELS[kind], depth)
    alpha = np.full((SIDE, SIDE), 255)
    extra: list[tuple[bytes, bytes]] = []
    if kind == PALETTE:
        palette = samples(3, 8, 16).reshape(-1, 3)[: 1 << depth]
        extra = [(b"PLTE", palette.astype(np.uint8).tobytes())]
        colours = palette[values[..., 0]]
        if transparent:
            shares = (np.arange(len(palette)) * 97) % 256
            extra.append((b"tRNS", shares.astype(np.uint8).tobytes()))
            alpha = shares[values[..., 0]]
    else:
        colours = eight_bits(values[..., : 3 if kind in (COLOUR, COLOUR_ALPHA) else 1], depth)
        if kind in (GREY_ALPHA, COLOUR_ALPHA):
            alpha = eight_bits(values[..., -1], depth)
        if transparent:
            # A neighbour differs from the transparent colour in its lowest bit only.
            chosen = values[3, 3].copy()
            values[3, 4] = chosen ^ 1
            colours = eight_bits(values, depth)
            extra = [(b"tRNS", chosen.astype(">u2").tobytes())]
            alpha = np.where((values == chosen).all(axis=2), 0, 255)
    return Picture(png(kind, depth, values, *extra, interlaced=interlaced), on_white(colours, alpha))


def _rows(values: Samples, depth: int) -> bytes:
    """Return filtered rows: each filter in turn."""
    height, _, channels = values.shape
    if depth == 16:
        packed = values.reshape(height, -1).astype(">u2").view(np.uint8)
    elif depth == 8:
        packed = values.reshape(height, -1).astype(np.uint8)
    else:
        bits = np.unpackbits(values.astype(np.uint8)[..., None], axis=-1)[..., -depth:].reshape(height, -1)
        packed = np.packbits(bits, axis=1)
    step = max(1, channels * depth // 8)
    rows, above = [], [0] * packed.shape[1]
    for number, row in enumerate(packed.tolist()):
        rows.append(bytes([number % 5, *_filtered(number % 5, row, above, step)]))
        above = row
    return b"".join(rows)


def _filtered(kind: int, row: list[int], above: list[int], step: int) -> list[int]:
    left = [0] * step + row
    corner = [0] * step + above
    predicted = (
        lambda a, b, c: 0,
        lambda a, b, c: a,
        lambda a, b, c: b,
        lambda a, b, c: (a + b) // 2,
        lambda a, b, c: min((a, b, c), key=lambda each: abs(a + b - c - each)),
    )[kind]
    return [(value - predicted(*each)) % 256 for value, *each in zip(row, left, above, corner, strict=False)]

"""BMP files of every depth, header and compression that is in use."""

from __future__ import annotations

import struct

import numpy as np

from tests.models.image.corpus.picture import SIDE, Picture, Pictures, Samples, eight_bits, on_white, samples

_CORE, _INFO, _V4, _V5 = 12, 40, 108, 124
_PLAIN, _RLE8, _RLE4, _MASKS = 0, 1, 2, 3
_OPAQUE = np.full((SIDE, SIDE), 255)


def pictures() -> Pictures:
    """Return a picture of each kind."""
    made: dict[str, Picture] = {}
    for depth in (1, 4, 8):
        values, palette = samples(1, depth)[..., 0], _palette(depth)
        shown = on_white(palette[values], _OPAQUE)
        made[f"bmp: palette, {depth} bits"] = Picture(_bmp(depth, _packed(values, depth), palette), shown)
        made[f"bmp: palette, {depth} bits, top down"] = Picture(
            _bmp(depth, _packed(values[::-1], depth), palette, top_down=True), shown
        )
        made[f"bmp: palette, {depth} bits, OS/2"] = Picture(
            _bmp(depth, _packed(values, depth), palette, header=_CORE), shown
        )
    for depth, compression in ((8, _RLE8), (4, _RLE4)):
        values, palette = samples(1, depth)[..., 0] // 2 * 2, _palette(depth)
        values[4:9] = values[4:9, :1]  # long runs
        data = _bmp(depth, _runs(values, depth), palette, compression=compression)
        made[f"bmp: runs, {depth} bits"] = Picture(data, on_white(palette[values], _OPAQUE))
    for header in (_INFO, _V4, _V5):
        colours = samples(3, 8)
        shown = on_white(colours, _OPAQUE)
        made[f"bmp: RGB, 24 bits, header of {header}"] = Picture(_bmp(24, _colours(colours), header=header), shown)
    filled = np.concatenate([colours, samples(1, 8)], axis=2)
    # Without a mask of alpha the fourth byte has no meaning.
    made["bmp: RGB, 32 bits"] = Picture(_bmp(32, _colours(filled)), shown)
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    data = _bmp(32, _colours(filled), header=_V4, compression=_MASKS, masks=masks)
    made["bmp: RGBA, 32 bits, masks"] = Picture(data, on_white(colours, filled[..., 3]))
    made |= _sixteen_bits()
    return made


def _sixteen_bits() -> Pictures:
    made = {}
    for bits in ((5, 5, 5), (5, 6, 5)):
        values = np.concatenate([samples(1, each) for each in bits], axis=2)
        shifts = (bits[1] + bits[2], bits[2], 0)
        words = (values << np.array(shifts)).sum(axis=2)
        masks = tuple(((1 << each) - 1) << shift for each, shift in zip(bits, shifts, strict=True))
        colours = np.stack([eight_bits(values[..., place], each) for place, each in enumerate(bits)], axis=2)
        compression = _PLAIN if bits == (5, 5, 5) else _MASKS
        data = _bmp(16, _padded(words.astype("<u2").view(np.uint8)), compression=compression, masks=masks)
        made[f"bmp: RGB, 16 bits, {bits[0]}-{bits[1]}-{bits[2]}"] = Picture(data, on_white(colours, _OPAQUE))
    return made


def _bmp(
    depth: int,
    rows: bytes,
    palette: Samples | None = None,
    *,
    header: int = _INFO,
    compression: int = _PLAIN,
    masks: tuple[int, ...] = (),
    top_down: bool = False,
) -> bytes:
    colours = b""
    if palette is not None:
        filler = [] if header == _CORE else [np.zeros((len(palette), 1), int)]
        colours = np.concatenate([palette[:, ::-1], *filler], axis=1).astype(np.uint8).tobytes()
    if header == _CORE:
        info = struct.pack("<IHHHH", header, SIDE, SIDE, 1, depth)
    else:
        height = -SIDE if top_down else SIDE
        used = 0 if palette is None else len(palette)
        info = struct.pack(
            "<IiiHHIIiiII", header, SIDE, height, 1, depth, compression, len(rows), 2835, 2835, used, used
        )
        if header > _INFO:
            info += struct.pack("<4I", *(masks or (0, 0, 0, 0))) + b"BGRs" + bytes(header - _INFO - 20)
        elif compression == _MASKS:
            info += struct.pack("<3I", *masks[:3])
    start = 14 + len(info) + len(colours)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + info + colours + rows


def _palette(depth: int) -> Samples:
    return samples(3, 8, 16).reshape(-1, 3)[: 1 << depth]


def _packed(values: Samples, depth: int) -> bytes:
    bits = np.unpackbits(values.astype(np.uint8)[..., None], axis=-1)[..., -depth:].reshape(SIDE, -1)
    return _padded(np.packbits(bits, axis=1))


def _colours(values: Samples) -> bytes:
    order = [2, 1, 0, 3][: values.shape[2]]
    return _padded(values[..., order].astype(np.uint8).reshape(SIDE, -1))


def _padded(rows: Samples | np.ndarray) -> bytes:
    """Return the rows from bottom to top, each of a multiple of four bytes."""
    flat = rows[::-1].reshape(SIDE, -1)
    return np.pad(flat, ((0, 0), (0, -flat.shape[1] % 4))).tobytes()


def _runs(values: Samples, depth: int) -> bytes:
    """Return rows as runs where all values are equal, and as literal values elsewhere."""
    packed = bytearray()
    for row in values[::-1].tolist():
        literal = (
            bytes(row) if depth == 8 else bytes(a << 4 | b for a, b in zip(row[::2], [*row[1::2], 0], strict=True))
        )
        if len(set(row)) == 1:
            packed += bytes([SIDE, row[0] if depth == 8 else row[0] << 4 | row[0]])
        else:
            packed += bytes([0, SIDE]) + literal + bytes(len(literal) % 2)
        packed += b"\0\0"
    return bytes(packed[:-2]) + b"\0\1"

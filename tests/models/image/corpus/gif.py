"""GIF files with global and local palettes, transparency, interlace, and frames smaller than the screen."""

from __future__ import annotations

import itertools
import struct

import numpy as np

from tests.models.image.corpus.picture import SIDE, Picture, Pictures, Samples, on_white, samples

_TRANSPARENT = 5


def pictures() -> Pictures:
    """Return a picture of each combination."""
    made: dict[str, Picture] = {}
    for local, transparent, interlaced in itertools.product((False, True), repeat=3):
        name = "gif: local palette" if local else "gif: global palette"
        name += ", transparent" * transparent + ", interlaced" * interlaced
        made[name] = _picture(local=local, transparent=transparent, interlaced=interlaced)
    made["gif: frame smaller than the screen"] = _picture(frame=(4, 2, 13, 11))
    made["gif: animation"] = _picture(frames=3)
    return made


def _picture(
    *,
    local: bool = False,
    transparent: bool = False,
    interlaced: bool = False,
    frame: tuple[int, int, int, int] = (0, 0, SIDE, SIDE),
    frames: int = 1,
) -> Picture:
    left, top, width, height = frame
    values = samples(1, 3)[:height, :width, 0]
    palette = samples(3, 8, 4).reshape(-1, 3)[:8]
    table = palette.astype(np.uint8).tobytes()
    other = (255 - palette).astype(np.uint8).tobytes()
    screen = b"GIF89a" + struct.pack("<HHBBB", SIDE, SIDE, 0x80 | 2, 0, 0) + (other if local else table)
    control = b"\x21\xf9\x04" + struct.pack("<BHB", transparent, 0, _TRANSPARENT) + b"\0"
    flags = (0x80 | 2 if local else 0) | (0x40 if interlaced else 0)
    place = b"\x2c" + struct.pack("<HHHHB", left, top, width, height, flags) + (table if local else b"")
    body = screen + control + place + _data(_ordered(values, interlaced=interlaced))
    for number in range(1, frames):
        body += control + place + _data((values + number) % 8)
    shown = np.full((SIDE, SIDE, 3), 255, np.uint8)
    alpha = np.where((values == _TRANSPARENT) & transparent, 0, 255)
    shown[top : top + height, left : left + width] = on_white(palette[values], alpha)
    return Picture(body + b"\x3b", shown)


def _ordered(values: Samples, *, interlaced: bool) -> Samples:
    """Return the rows in the order of the four passes."""
    if not interlaced:
        return values
    return np.concatenate([values[0::8], values[4::8], values[2::4], values[1::2]])


def _data(values: Samples) -> bytes:
    """Return codes of 4 bits for values of 3, with a clear code before the table grows to codes of 5."""
    codes = []
    for number, value in enumerate(values.ravel().tolist()):
        codes += [8, value] if number % 6 == 0 else [value]
    codes.append(9)
    packed = bytes(a | b << 4 for a, b in itertools.zip_longest(codes[::2], codes[1::2], fillvalue=0))
    blocks = [packed[at : at + 255] for at in range(0, len(packed), 255)]
    return b"\x03" + b"".join(bytes([len(block)]) + block for block in blocks) + b"\0"

"""Pixels of a file by the decoder that its format's authors maintain, where that program is installed.

Debian's packages: libjpeg-turbo-progs (djpeg), webp (dwebp, and cwebp, which reads PNG by libpng).
"""

from __future__ import annotations

import shutil
import subprocess
from typing import Final

import numpy as np

from models.image.preprocessing import Pixels
from tests.models.image.corpus.picture import on_white

_DWEBP: Final = ("dwebp", "-quiet", "-pam", "-o", "-", "--", "-")
_CWEBP: Final = ("cwebp", "-quiet", "-lossless", "-exact", "-z", "0", "-o", "-", "--", "-")
_PROGRAMS: Final = {b"\xff\xd8": (("djpeg", "-pnm"),), b"RI": (_DWEBP,), b"\x89P": (_CWEBP, _DWEBP)}


def has_reference(data: bytes) -> bool:
    """Return whether the reference decoder of this format is installed."""
    programs = _PROGRAMS.get(data[:2], ())
    return bool(programs) and all(shutil.which(program[0]) for program in programs)


def reference_pixels(data: bytes) -> Pixels:
    """Return the pixels (height, width, 3) on white."""
    for program in _PROGRAMS[data[:2]]:
        data = subprocess.run(program, input=data, capture_output=True, check=True).stdout
    height, width, channels, values = _parsed(data)
    whole = np.frombuffer(values, np.uint8, height * width * channels).reshape(height, width, channels).astype(int)
    alpha = whole[..., 3] if channels == 4 else np.full((height, width), 255)
    return on_white(whole[..., :3], alpha)


def _parsed(data: bytes) -> tuple[int, int, int, bytes]:
    """Return height, width, channels and samples of a PAM, PPM or PGM file of eight bits."""
    if data.startswith(b"P7"):
        text, _, values = data.partition(b"ENDHDR\n")
        head = dict(line.split() for line in text.decode().splitlines()[1:])
        return int(head["HEIGHT"]), int(head["WIDTH"]), int(head["DEPTH"]), values
    kind, size, _, values = data.split(b"\n", 3)
    width, height = map(int, size.split())
    return height, width, 3 if kind == b"P6" else 1, values

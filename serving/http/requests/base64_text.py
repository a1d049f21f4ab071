"""Files in JSON as base64."""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import Final

# A multiple of 4. A piece takes 2 ms of the event loop.
_PIECE_CHARACTERS: Final = 1 << 20


async def decode_base64(text: str | bytes) -> bytes:
    """Return the decoded `text`. Other tasks run between its pieces. Raises ValueError for text that is not base64."""
    if len(text) <= _PIECE_CHARACTERS:
        return base64.b64decode(text, validate=True)
    pieces: list[bytes] = []
    for start in range(0, len(text), _PIECE_CHARACTERS):
        piece = base64.b64decode(text[start : start + _PIECE_CHARACTERS], validate=True)
        if len(piece) < _PIECE_CHARACTERS // 4 * 3 and start + _PIECE_CHARACTERS < len(text):
            raise binascii.Error("padding before the end")
        pieces.append(piece)
        await asyncio.sleep(0)
    return b"".join(pieces)

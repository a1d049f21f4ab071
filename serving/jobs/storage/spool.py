"""A request's body on its way to the disk, piece by piece: never more of it in memory. Knows bytes, no formats."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

from models.errors import InputTooLarge
from serving.concurrency import ThreadPool

# What is handed to the thread at a time.
PIECE_BYTES = 1 << 20


async def spool(body: AsyncIterator[bytes], path: Path, threads: ThreadPool, *, max_bytes: int) -> int:
    """Write `body` to `path`. Gives its size. Raises InputTooLarge, OSError, and what `body` does."""
    size, waiting = 0, bytearray()
    stream = await threads.run(lambda at: at.open("xb"), path)
    try:
        async for chunk in body:
            size += len(chunk)
            if size > max_bytes:
                raise InputTooLarge(f"the body is larger than the {max_bytes} bytes that a job may have")
            waiting += chunk
            if len(waiting) >= PIECE_BYTES:
                piece, waiting = bytes(waiting), bytearray()
                await threads.run(stream.write, piece)
        await threads.run(stream.write, bytes(waiting))
    finally:
        stream.close()
    return size


def free_bytes(folder: Path) -> int:
    """What is left on the disk of `folder`."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize

"""Write the body of a request to disk while it arrives, with at most one chunk of it in memory."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

from models.errors import InputTooLarge
from serving.concurrency import ThreadPool

# The size of one write in the thread.
CHUNK_BYTES = 1 << 20


async def spool(body: AsyncIterator[bytes], path: Path, threads: ThreadPool, *, max_bytes: int) -> int:
    """Write `body` to `path`, and return its size. Raises InputTooLarge, OSError, and the errors of `body`."""
    size, buffer = 0, bytearray()
    stream = await threads.run(lambda target: target.open("xb"), path)
    try:
        async for chunk in body:
            size += len(chunk)
            if size > max_bytes:
                raise InputTooLarge(f"the body is larger than the {max_bytes} bytes that a job may have")
            buffer += chunk
            if len(buffer) >= CHUNK_BYTES:
                full, buffer = bytes(buffer), bytearray()
                await threads.run(stream.write, full)
        await threads.run(stream.write, bytes(buffer))
    finally:
        stream.close()
    return size


def free_bytes(folder: Path) -> int:
    """Return the free space on the disk of `folder`."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize

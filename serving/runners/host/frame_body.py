"""Reads request bodies of the runner's HTTP interface."""

from __future__ import annotations

from typing import Final

from starlette.types import Receive

from serving.runners.wire import FrameInvalid

MAX_FRAME_BYTES: Final = 256 << 20
# The names of some versions.
MAX_CONTROL_BYTES: Final = 64 << 10


class FrameTooLarge(FrameInvalid):
    """A body of more bytes than it may have."""


async def read_body(receive: Receive, *, max_bytes: int = MAX_FRAME_BYTES) -> bytes:
    """Return the whole body. Raises FrameInvalid when the gateway disconnects first, and FrameTooLarge."""
    chunks: list[bytes] = []
    size, more_body = 0, True
    while more_body:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise FrameInvalid("the gateway disconnected before the frame was complete")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > max_bytes:
            raise FrameTooLarge("the frame is too large")
        more_body = message.get("more_body", False)
    return bytes(chunks[0]) if len(chunks) == 1 else b"".join(chunks)


async def wait_for_disconnect(receive: Receive) -> None:
    """Return when the other side closes the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass

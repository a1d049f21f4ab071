"""Reads request bodies of the runner's HTTP interface."""

from __future__ import annotations

from typing import Final

from starlette.types import Receive

from serving.runners.wire import FrameInvalid

MAX_FRAME_BYTES: Final = 256 << 20


class FrameTooLarge(FrameInvalid):
    """A frame of more than `MAX_FRAME_BYTES`."""


async def read_body(receive: Receive) -> bytes:
    """Return the whole body. Raises FrameInvalid when the gateway disconnects first, and FrameTooLarge."""
    message = await receive()
    if not message.get("more_body", False):
        return bytes(message.get("body", b""))
    chunks, size = [message["body"]], len(message["body"])
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise FrameInvalid("the gateway disconnected before the frame was complete")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > MAX_FRAME_BYTES:
            raise FrameTooLarge("the frame is too large")
    return b"".join(chunks)


async def wait_for_disconnect(receive: Receive) -> None:
    """Return when the other side closes the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass

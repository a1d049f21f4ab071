"""Clients that end their side of the connection after a request and wait for the response (RFC 9112, 9.6).

A client that closes the whole connection looks the same: the difference shows only when bytes are sent to it, which it
then answers with a reset. Therefore the first bytes of the response, which all responses share, are sent immediately.
Work for a client that resets the connection is cancelled, as it is for any disconnected client.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final

# How often it is checked whether the client has reset the connection.
CHECK_S: Final = 0.1
_START: Final = b"HTTP/1.1 "


class StartedTransport:
    """A transport that sends the start of the next response when it is created."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._sent_bytes = len(_START)
        transport.write(_START)

    def write(self, data: bytes) -> None:
        """Send `data` without the bytes that were sent before."""
        self._transport.write(data[self._sent_bytes :])
        self._sent_bytes = 0

    def __getattr__(self, name: str) -> Any:  # Any: the other members of a transport
        return getattr(self._transport, name)


def is_reset(transport: asyncio.Transport) -> bool:
    """Return whether the client has reset the connection. A reset is reported once."""
    peer: socket.socket | None = transport.get_extra_info("socket")
    return peer is not None and peer.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0

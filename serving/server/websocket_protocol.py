"""uvicorn's WebSocket protocol with backpressure for pings, and a shutdown that no handshake can fail.

uvicorn answers every ping and buffers the answers. A client that sends pings and does not read could exhaust the memory
of the process; here reading pauses while the client does not read.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket connection."""

    def shutdown(self) -> None:
        """End the connection. A head that is no handshake has been answered; a second answer would fail."""
        if self.handshake_initiated:
            super().shutdown()
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    async def receive(self) -> Any:  # Any: uvicorn's own
        message = await super().receive()
        if not self.writable.is_set() and not self.transport.is_closing():
            self.transport.pause_reading()
        return message

"""A uvicorn server that ends within milliseconds: uvicorn itself looks ten times a second whether it is to end."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

import uvicorn

TICK_S: Final = 0.005


class QuickServer(uvicorn.Server):
    """A server for tests. Set `should_exit` to end it; it waits for open connections like uvicorn."""

    async def main_loop(self) -> None:
        """Run until `should_exit`."""
        while not await self.on_tick(0):
            await asyncio.sleep(TICK_S)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, and wait for the connections and tasks to end."""
        for listener in (*self.servers, *(sockets or ())):
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        while self.server_state.connections or self.server_state.tasks:
            await asyncio.sleep(TICK_S)
        for server in self.servers:
            await server.wait_closed()
        await self.lifespan.shutdown()

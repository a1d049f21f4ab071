"""A real HTTP server in a thread of this process, for clients that need an address."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from serving.server.http_protocol import HttpProtocol
from tests.serving.quick_server import QuickServer


@contextlib.contextmanager
def listening(app: ASGIApp, *, log_level: str = "error") -> Iterator[str]:
    """Serve `app` within the block; yields the address as host:port."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen(64)
        config = uvicorn.Config(app, log_level=log_level, lifespan="on", http=HttpProtocol, ws="websockets-sansio")
        server = QuickServer(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})
        thread.start()
        try:
            until = time.monotonic() + 120
            while not server.started:
                assert thread.is_alive()
                assert time.monotonic() < until
                time.sleep(0.01)
            yield f"127.0.0.1:{door.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(120)

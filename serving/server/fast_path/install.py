"""Installs the fast path in the uvicorn server of this process."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterable

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from serving.http.middleware.metrics import OTHER_METHOD, UNMATCHED
from serving.observability.request_recorder import RequestRecorder
from serving.process.graceful_shutdown import GracefulShutdown
from serving.server.fast_path.batch_queue import BatchQueue, FastOperation
from serving.server.fast_path.protocol import FastPathProtocol
from serving.server.http_protocol import HttpBounds
from serving.server.websocket_protocol import WebSocketProtocol

log = logging.getLogger("makunouchi.fast_path")


def install(
    operations: Callable[[], Iterable[FastOperation]],
    *,
    recorder: RequestRecorder,
    shutdown: GracefulShutdown,
    timeout_s: float,
    head_timeout_s: float,
    body_min_rate: int,
    keep_alive_s: float,
    max_message_bytes: int,
    on_change: Callable[[Callable[[], None]], None] = lambda update: None,
) -> bool:
    """Install the bounded protocols and the fast path to `operations`. Return whether the server supports them.

    `on_change` is called with what has to be called when `operations` returns others.

    `keep_alive_s` is how long a connection may be idle, and `max_message_bytes` the bound of a WebSocket's messages.

    Call it while the application starts: connections that were accepted before keep uvicorn's own protocol.
    """
    server = running_server()
    if server is None or server.config.http_protocol_class is not HttpToolsProtocol:
        log.warning("no fast path and no bounds of headers: the server of this process is not uvicorn with httptools")
        return False
    queues: dict[bytes, BatchQueue] = {}

    def update() -> None:
        new = {operation.path.encode("ascii"): operation for operation in operations()}
        for path in queues.keys() - new.keys():
            del queues[path]
        # Requests that wait in a queue that is replaced are answered by it.
        for path, operation in new.items():
            queues[path] = BatchQueue(operation, recorder, shutdown, timeout_s=timeout_s)

    update()
    on_change(update)

    def count(request_id: str, status: int) -> None:
        recorder.answered(request_id, OTHER_METHOD, UNMATCHED, status, 0.0)

    # BentoML has no settings of them.
    server.config.timeout_keep_alive = keep_alive_s  # type: ignore[assignment]  # it is only passed to `call_later`
    server.config.ws_max_size = max_message_bytes
    server.config.http_protocol_class = FastPathProtocol.using(queues, HttpBounds(head_timeout_s, body_min_rate, count))
    if server.config.ws_protocol_class is WebSocketsSansIOProtocol:
        server.config.ws_protocol_class = WebSocketProtocol
    return True


def running_server() -> uvicorn.Server | None:
    """Return the uvicorn server of this process: the one that handles SIGTERM. BentoML has no access to it."""
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return server if isinstance(server, uvicorn.Server) else None

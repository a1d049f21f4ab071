"""The protocol of a service, with its short roads, and how it gets into the server. Knows uvicorn, no calls."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterable

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from serving.http.middleware.metrics import OTHER_METHOD, UNMATCHED
from serving.observability.access_log import AccessLog
from serving.observability.metrics import ServiceMetrics
from serving.process.graceful_shutdown import GracefulShutdown
from serving.server.fast_path.batch_queue import BatchQueue, FastOperation
from serving.server.fast_path.protocol import FastPathProtocol
from serving.server.http_protocol import HttpBounds
from serving.server.websocket_protocol import WebSocketProtocol

log = logging.getLogger("makunouchi.express")


def install(
    calls: Iterable[FastOperation],
    *,
    telemetry: ServiceMetrics,
    access_log: AccessLog | None,
    draining: GracefulShutdown,
    timeout_s: float,
    head_timeout_s: float,
) -> bool:
    """Make the server that runs this process strict, and open short roads to `calls`; whether it is one that they fit.

    To be called while the application starts: connections that were accepted before keep to uvicorn's own protocol.
    """
    server = running_server()
    if server is None or server.config.http_protocol_class is not HttpToolsProtocol:
        log.warning("no short road, no bounds of headers: the server of this process is not uvicorn with httptools")
        return False
    roads = {
        call.path.encode("ascii"): BatchQueue(call, telemetry, access_log, draining, timeout_s=timeout_s)
        for call in calls
    }

    def count(request_id: str, status: int) -> None:
        telemetry.count_response(UNMATCHED, OTHER_METHOD, status, 0.0)
        if access_log is not None:
            access_log.write(request_id, OTHER_METHOD, UNMATCHED, status, 0.0)

    server.config.http_protocol_class = FastPathProtocol.using(roads, HttpBounds(head_timeout_s, count))
    if server.config.ws_protocol_class is WebSocketsSansIOProtocol:
        server.config.ws_protocol_class = WebSocketProtocol
    return True


def running_server() -> uvicorn.Server | None:
    """The uvicorn server of this process: the one that handles SIGTERM. BentoML makes it, and tells nobody."""
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return server if isinstance(server, uvicorn.Server) else None

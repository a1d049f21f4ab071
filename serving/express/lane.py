"""The short roads of a service, and how they get into its server. Knows uvicorn, no calls."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterable

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.access_log import AccessLog
from serving.draining import Draining
from serving.express.protocol import ExpressProtocol
from serving.express.road import ExpressCall, Road
from serving.telemetry import Telemetry

log = logging.getLogger("makunouchi.express")


def open_lane(
    calls: Iterable[ExpressCall],
    *,
    telemetry: Telemetry,
    access_log: AccessLog | None,
    draining: Draining,
    timeout_s: float,
) -> bool:
    """Open short roads to `calls` in the server that runs this process; whether it has one that they fit.

    To be called while the application starts: connections that were accepted before keep to the ordinary road.
    """
    server = running_server()
    if server is None or server.config.http_protocol_class is not HttpToolsProtocol:
        log.info("no short road: the server of this process is not uvicorn with httptools")
        return False
    roads = {
        call.path.encode("ascii"): Road(call, telemetry, access_log, draining, timeout_s=timeout_s) for call in calls
    }
    server.config.http_protocol_class = ExpressProtocol.using(roads)
    return True


def running_server() -> uvicorn.Server | None:
    """The uvicorn server of this process: the one that handles SIGTERM. BentoML makes it, and tells nobody."""
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return server if isinstance(server, uvicorn.Server) else None

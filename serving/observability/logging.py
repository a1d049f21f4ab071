"""Logging of a serving process."""

from __future__ import annotations

import logging


def set_up_logs(level: str) -> None:
    """Let the platform's loggers through at `level`, and keep uvicorn from formatting an access line of its own."""
    logging.getLogger("makunouchi").setLevel(level)
    # uvicorn asks its access logger whether anybody listens, once per connection; BentoML's root handler would.
    logging.getLogger("uvicorn.access").propagate = False
    # Of each form that is none it tells the byte that was wrong; the client is told, and the access log has the 400.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    server = logging.getLogger("uvicorn.error")
    if _tells_something not in server.filters:
        server.addFilter(_tells_something)


# What uvicorn 0.54 says of WebSockets: of each that was refused, by an answer that is complete, that it was not; and
# the whole path of each, with whatever a client put into the query. The access log has both.
_SAID_OF_SOCKETS = ("ASGI callable returned without completing handshake.", '%s - "WebSocket %s"')


def _tells_something(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_SAID_OF_SOCKETS)

"""Configure the logging of a serving process."""

from __future__ import annotations

import logging


def set_up_logs(level: str) -> None:
    """Set the level of the platform's loggers, and disable access logs and uninformative messages of libraries."""
    logging.getLogger("makunouchi").setLevel(level)
    # uvicorn formats access lines if its logger has a handler, and BentoML sets one at the root logger.
    logging.getLogger("uvicorn.access").propagate = False
    server = logging.getLogger("uvicorn.error")
    if _is_informative not in server.filters:
        server.addFilter(_is_informative)


# Messages of uvicorn 0.54 about WebSockets: the first is wrong, since a refusal with a response is complete; the second
# contains the query, which may contain secrets.
_WEBSOCKET_MESSAGES = ("ASGI callable returned without completing handshake.", '%s - "WebSocket %s"')


def _is_informative(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_WEBSOCKET_MESSAGES)

"""Answer 500 to an unhandled exception, and log it with the request id."""

from __future__ import annotations

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.context import current_request_id
from serving.http.problem_details import problem_of

log = logging.getLogger("makunouchi.errors")


class ServerErrors:
    """Middleware around everything that may raise. Once a response has started, the connection is closed instead."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        has_started = is_complete = False

        async def send_tracked(message: Message) -> None:
            nonlocal has_started, is_complete
            has_started = True
            is_complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        try:
            await self.app(scope, receive, send_tracked)
        except Exception as error:
            if is_complete:
                # Starlette raises an exception again after its handler has responded.
                log.debug("exception after a complete response", exc_info=error)
            elif has_started:
                log.exception("response aborted [request_id=%s]", current_request_id())
                raise
            else:
                await problem_of(error, instance=scope["path"])(scope, receive, send)

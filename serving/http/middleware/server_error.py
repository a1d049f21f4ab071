"""Answers 500 for what nobody caught, and keeps the cause in the log, under the request id. Knows no routes."""

from __future__ import annotations

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.context import current_request_id
from serving.http.problem_details import problem_of

log = logging.getLogger("makunouchi.errors")


class ServerErrors:
    """Outside of everything that may raise. Once an answer has begun the connection is closed instead."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        has_begun = is_complete = False

        async def watched(message: Message) -> None:
            nonlocal has_begun, is_complete
            has_begun = True
            is_complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception as error:
            if is_complete:
                # Starlette raises again what its handler has answered already.
                log.debug("raised after its answer", exc_info=error)
            elif has_begun:
                log.exception("an answer broke off [request_id=%s]", current_request_id())
                raise
            else:
                await problem_of(error, instance=scope["path"])(scope, receive, send)

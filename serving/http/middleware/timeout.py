"""The deadline of a request: set for everything it starts, and 504 when it passes. Knows headers, no routes."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.errors import DeadlineExceeded
from serving.asgi import disconnect_checker
from serving.concurrency import task_timeout
from serving.context import RequestContext, set_context
from serving.http.job_paths import is_job_transfer
from serving.http.problem_details import problem_of

HEADER = b"x-request-timeout"
TRACE_HEADER = b"traceparent"
# What is left to send a runner's own DeadlineExceeded before the request is cut off.
MARGIN_S = 0.25


class Timeout:
    """A client may ask for less than `timeout_s` with `X-Request-Timeout: <seconds>`; more is not given.

    Once an answer has begun it is cut off at the deadline, and so is one that the client has not read by then.
    Transfers of jobs have `transfer_timeout_s` where it is given.
    """

    def __init__(self, app: ASGIApp, *, timeout_s: float, transfer_timeout_s: float | None = None) -> None:
        self.app = app
        self._timeout_s = timeout_s
        self._transfer_timeout_s = transfer_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        timeout_s, traceparent = self._timeout_s, ""
        if self._transfer_timeout_s is not None and is_job_transfer(scope):
            timeout_s = self._transfer_timeout_s
        for name, value in scope["headers"]:
            if name == HEADER:
                timeout_s = min(timeout_s, _seconds(value))
            elif name == TRACE_HEADER:
                traceparent = value.decode("latin-1")
        set_context(RequestContext(time.monotonic() + timeout_s, disconnect_checker(receive), traceparent))
        has_begun = False

        async def watched(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            with task_timeout(timeout_s + MARGIN_S) as limit:
                await self.app(scope, receive, watched)
        except TimeoutError:
            if has_begun or not limit.is_over:
                raise
            error = DeadlineExceeded("the request was not answered in time")
            await problem_of(error, instance=scope["path"])(scope, receive, send)
        transport: Any = getattr(getattr(receive, "__self__", None), "transport", None)  # Any: uvicorn's own
        if transport is not None:
            cut_if_unread(transport, timeout_s)


def cut_if_unread(transport: asyncio.Transport, timeout_s: float) -> None:
    """End a connection whose client has not read its answer `timeout_s` from now. Call inside an event loop."""
    if transport.get_write_buffer_size():
        # Closing would wait for as long as the client does not read.
        asyncio.get_running_loop().call_later(timeout_s, _cut_unread, transport)


def _cut_unread(transport: asyncio.Transport) -> None:
    if transport.get_write_buffer_size():
        transport.abort()


def _seconds(value: bytes) -> float:
    try:
        seconds = float(value)
    except ValueError:
        return math.inf
    return seconds if seconds > 0 else math.inf

"""Set the deadline of a request, and answer 504 when it passes."""

from __future__ import annotations

import asyncio
import math
import re
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
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{0,200})?")
# Time to send a DeadlineExceeded of a runner before the request is cancelled.
MARGIN_S = 0.25


class Timeout:
    """Middleware that sets the request context and enforces its deadline.

    A client can shorten `timeout_s` with `X-Request-Timeout: <seconds>`, but not extend it. Uploads and downloads of
    jobs have `transfer_timeout_s` if it is given. A response that has started is aborted at the deadline, and so is one
    that the client has not read `timeout_s` after it was sent.
    """

    def __init__(self, app: ASGIApp, *, timeout_s: float, transfer_timeout_s: float | None = None) -> None:
        self.app = app
        self._timeout_s = timeout_s
        self._transfer_timeout_s = transfer_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        timeout_s, traces = self._timeout_s, list[bytes]()
        if self._transfer_timeout_s is not None and is_job_transfer(scope):
            timeout_s = self._transfer_timeout_s
        for name, value in scope["headers"]:
            if name == HEADER:
                timeout_s = min(timeout_s, _seconds(value))
            elif name == TRACE_HEADER:
                traces.append(value)
        # Several lines, or another form, are no trace (W3C Trace Context, 3.2).
        traceparent = traces[0].decode() if len(traces) == 1 and _TRACEPARENT.fullmatch(traces[0]) else ""
        set_context(RequestContext(time.monotonic() + timeout_s, disconnect_checker(receive), traceparent))
        has_started = False

        async def send_tracked(message: Message) -> None:
            nonlocal has_started
            await send(message)
            # A response that waits for its turn, or for the client to read, has not started.
            has_started = True

        try:
            with task_timeout(timeout_s + MARGIN_S) as limit:
                await self.app(scope, receive, send_tracked)
        except TimeoutError:
            if has_started or not limit.is_over:
                raise
            error = DeadlineExceeded("the deadline of the request has passed")
            await problem_of(error, instance=scope["path"])(scope, receive, send)
        transport: Any = getattr(getattr(receive, "__self__", None), "transport", None)  # Any: uvicorn's own
        if transport is not None:
            cut_if_unread(transport, timeout_s)


def cut_if_unread(transport: asyncio.Transport, timeout_s: float) -> None:
    """Abort a connection whose client has not read its response `timeout_s` from now. Call inside an event loop."""
    if transport.get_write_buffer_size():
        # A regular close would wait for the client to read.
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

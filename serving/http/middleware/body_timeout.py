"""Answer 408 when a request body does not arrive in time, so that slow clients do not hold resources."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.concurrency import task_timeout
from serving.errors.problem_types import BODY_TIMEOUT
from serving.http.job_paths import is_job_transfer
from serving.http.problem_details import problem


class BodyTimeout:
    """Middleware that limits the time between the headers and the end of the body to `timeout_s`.

    Uploads of jobs have `transfer_timeout_s` if it is given. A body that arrived with its headers needs no timer. The
    application sees a late body as a disconnected client; its own response is dropped, unless it has started.
    """

    def __init__(self, app: ASGIApp, *, timeout_s: float, transfer_timeout_s: float | None = None) -> None:
        self.app = app
        self._timeout_s = timeout_s
        self._transfer_timeout_s = transfer_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # uvicorn's `receive` is a method of the request cycle, which has the state of the body.
        is_complete = not getattr(getattr(receive, "__self__", None), "more_body", True)
        if scope["type"] != "http" or is_complete:
            await self.app(scope, receive, send)
            return
        timeout_s = self._timeout_s
        if self._transfer_timeout_s is not None and is_job_transfer(scope):
            timeout_s = self._transfer_timeout_s
        request = _TimedRequest(receive, send, timeout_s)
        try:
            await self.app(scope, request.receive, request.send)
        except Exception:
            # The application may turn the interrupted body into any error.
            if not request.is_late or request.has_started:
                raise
        if request.is_late and not request.has_started:
            detail = f"the body was not complete after {timeout_s:g} s"
            # The rest of the body is not read, so the connection cannot be reused.
            response = problem(BODY_TIMEOUT, detail, instance=scope["path"], headers={"Connection": "close"})
            await response(scope, receive, send)


class _TimedRequest:
    """A request whose body has a deadline."""

    __slots__ = ("_deadline", "_is_complete", "_loop", "_receive", "_send", "has_started", "is_late")

    def __init__(self, receive: Receive, send: Send, timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + timeout_s
        self._receive = receive
        self._send = send
        self._is_complete = False
        self.is_late = False
        self.has_started = False

    async def receive(self) -> Message:
        if self._is_complete:
            return await self._receive()
        if self.is_late:
            return {"type": "http.disconnect"}
        try:
            with task_timeout(self._deadline - self._loop.time()):
                message = await self._receive()
        except TimeoutError:
            self.is_late = True
            return {"type": "http.disconnect"}
        self._is_complete = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if self.is_late and not self.has_started:
            return
        self.has_started = True
        await self._send(message)

"""Answers 408 when a request's body does not arrive in time: a client that sends one byte a second holds nobody.

Knows clocks and messages, no content.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.concurrency import task_timeout
from serving.errors.problem_types import BODY_TIMEOUT
from serving.http.job_paths import is_job_transfer
from serving.http.problem_details import problem


class BodyTimeout:
    """The whole body must be here `timeout_s` after its headers, or `transfer_timeout_s` where it is given and the body
    is a job. One that came with its headers costs nothing.

    To the application a body that is late looks like a client that went away; whatever it says then is thrown away,
    unless it has answered already.
    """

    def __init__(self, app: ASGIApp, *, timeout_s: float, transfer_timeout_s: float | None = None) -> None:
        self.app = app
        self._timeout_s = timeout_s
        self._transfer_timeout_s = transfer_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # uvicorn's `receive` is a method of the object that knows. Most bodies are in one piece with the headers.
        is_here = not getattr(getattr(receive, "__self__", None), "more_body", True)
        if scope["type"] != "http" or is_here:
            await self.app(scope, receive, send)
            return
        timeout_s = self._timeout_s
        if self._transfer_timeout_s is not None and is_job_transfer(scope):
            timeout_s = self._transfer_timeout_s
        request = _Awaited(receive, send, timeout_s)
        try:
            await self.app(scope, request.receive, request.send)
        except Exception:
            # What an application makes of the interrupted body is no error of its own.
            if not request.is_late or request.has_begun:
                raise
        if request.is_late and not request.has_begun:
            detail = f"the body was not complete after {timeout_s:g} s"
            # The rest of the body is still on its way, so the connection cannot be used again.
            response = problem(BODY_TIMEOUT, detail, instance=scope["path"], headers={"Connection": "close"})
            await response(scope, receive, send)


class _Awaited:
    """One request whose body is waited for."""

    __slots__ = ("_deadline", "_is_whole", "_loop", "_receive", "_send", "has_begun", "is_late")

    def __init__(self, receive: Receive, send: Send, timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + timeout_s
        self._receive = receive
        self._send = send
        self._is_whole = False
        self.is_late = False
        self.has_begun = False

    async def receive(self) -> Message:
        if self._is_whole:
            return await self._receive()
        if self.is_late:
            return {"type": "http.disconnect"}
        try:
            with task_timeout(self._deadline - self._loop.time()):
                message = await self._receive()
        except TimeoutError:
            self.is_late = True
            return {"type": "http.disconnect"}
        self._is_whole = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if self.is_late and not self.has_begun:
            return
        self.has_begun = True
        await self._send(message)

"""Answer 408 when a request body does not arrive in time or arrives too slowly, so that slow clients hold nothing."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.concurrency import task_timeout
from serving.errors.problem_types import BODY_TIMEOUT
from serving.http.job_paths import is_job_transfer
from serving.http.problem_details import problem

# The minimum rate of a body applies after this time.
GRACE_S: Final = 5.0


class BodyTimeout:
    """Middleware that limits the time between the headers and the end of the body to `timeout_s`.

    Uploads of jobs have `transfer_timeout_s` if it is given. After GRACE_S every body has to arrive with `min_rate`
    bytes per second on average; time in which the application does not read does not count. A body that arrived with
    its headers needs no timer. The application sees a late body as a disconnected client; its own response is dropped,
    unless it has started.
    """

    def __init__(
        self, app: ASGIApp, *, timeout_s: float, transfer_timeout_s: float | None = None, min_rate: int = 0
    ) -> None:
        self.app = app
        self._timeout_s = timeout_s
        self._min_rate = min_rate
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
        request = _TimedRequest(receive, send, timeout_s, self._min_rate)
        try:
            await self.app(scope, request.receive, request.send)
        except Exception:
            # The application may turn the interrupted body into any error.
            if not request.is_late or request.has_started:
                raise
        if request.is_late and not request.has_started:
            detail = request.fault
            # The rest of the body is not read, so the connection cannot be reused.
            response = problem(BODY_TIMEOUT, detail, instance=scope["path"], headers={"Connection": "close"})
            await response(scope, receive, send)


class _TimedRequest:
    """A request whose body has a deadline and a minimum rate. `fault` says which of them it missed."""

    __slots__ = (
        "_deadline",
        "_is_complete",
        "_loop",
        "_min_rate",
        "_receive",
        "_send",
        "_size",
        "_timeout_s",
        "_waited_s",
        "fault",
        "has_started",
    )

    def __init__(self, receive: Receive, send: Send, timeout_s: float, min_rate: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout_s = timeout_s
        self._deadline = self._loop.time() + timeout_s
        self._min_rate = min_rate
        self._receive = receive
        self._send = send
        self._is_complete = False
        self._size = 0
        self._waited_s = 0.0
        self.fault = ""
        self.has_started = False

    async def receive(self) -> Message:
        if self._is_complete:
            return await self._receive()
        if self.is_late:
            return {"type": "http.disconnect"}
        started = self._loop.time()
        left_s, slow_s = self._deadline - started, self._slow_after_s()
        try:
            with task_timeout(min(left_s, slow_s)):
                message = await self._receive()
        except TimeoutError:
            self.fault = f"the body was not complete after {self._timeout_s:g} s"
            if slow_s < left_s:
                self.fault = f"the body arrived with less than {self._min_rate} bytes per second"
            return {"type": "http.disconnect"}
        self._waited_s += self._loop.time() - started
        self._size += len(message.get("body", b""))
        self._is_complete = not message.get("more_body", False)
        return message

    @property
    def is_late(self) -> bool:
        """Whether the body missed its deadline or its minimum rate."""
        return bool(self.fault)

    def _slow_after_s(self) -> float:
        """Return how long the next bytes may take before the average rate of the body is below the minimum."""
        if not self._min_rate:
            return float("inf")
        return GRACE_S + self._size / self._min_rate - self._waited_s

    async def send(self, message: Message) -> None:
        if self.is_late and not self.has_started:
            return
        self.has_started = True
        await self._send(message)

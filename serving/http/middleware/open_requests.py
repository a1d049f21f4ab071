"""Bound the time of the event loop for requests that need no key, so that they cannot starve predictions.

These are all requests that the guard has not admitted to an operation: pages, documents, metrics, probes, unknown paths
and methods, preflights, and requests with a missing or invalid key. Their responses wait until it is their turn.
"""

from __future__ import annotations

import time
from collections.abc import Coroutine, Generator, Sequence
from functools import partial
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.access.client_address import Network, client_address
from serving.access.guard import ADMITTED
from serving.http.loop_share import LoopShare

# How long a response waits at most. Those of probes decide whether a gateway gets requests at all.
MAX_WAIT_S: Final = 10.0
PROBE_WAIT_S: Final = 0.3
PROBES: Final = frozenset({"/livez", "/readyz", "/v2/health/live", "/v2/health/ready"})
_STARTS: Final = frozenset({"http.response.start", "websocket.http.response.start"})
# What a request costs in total: as much again as the application uses, for its tasks and the server, a fixed part for
# the system calls, and a part for each byte. Fitted to the processor time of a gateway that answers only such requests.
_FACTOR: Final = 2.0
_REQUEST_S: Final = 150e-6
_BYTE_S: Final = 1e-9


class LimitOpenRequests:
    """Middleware that gives open requests `share` of the event loop's time, in turns by client address."""

    def __init__(self, app: ASGIApp, *, share: float, trusted: Sequence[Network] = ()) -> None:
        self._app = app
        self._share = LoopShare(share)
        self._trusted = tuple(trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return

        async def send_in_turn(message: Message) -> None:
            if message["type"] in _STARTS and ADMITTED not in scope:
                cost_s = _FACTOR * request.used_s() + _REQUEST_S + _BYTE_S * _body_bytes(scope, message)
                max_wait_s = PROBE_WAIT_S if scope["path"] in PROBES else MAX_WAIT_S
                await self._share.take(client_address(scope, self._trusted), cost_s, max_wait_s=max_wait_s)
            await send(message)

        request = _Metered(self._app(scope, receive, send_in_turn))  # type: ignore[arg-type]  # a coroutine
        await request


class _Metered:
    """An awaitable that runs a coroutine and adds up the processor time of its steps."""

    __slots__ = ("_coroutine", "_started_s", "_used_s")

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:  # Any: what asyncio sends and receives
        self._coroutine = coroutine
        self._used_s = 0.0
        self._started_s = 0.0

    def used_s(self) -> float:
        """Return the time that was used so far. Call it within a step."""
        return self._used_s + time.thread_time() - self._started_s

    def __await__(self) -> Generator[Any, Any, None]:
        step = partial(self._coroutine.send, None)
        while True:
            self._started_s = time.thread_time()
            try:
                awaited = step()
            except StopIteration:
                return
            self._used_s = self.used_s()
            try:
                step = partial(self._coroutine.send, (yield awaited))
            except BaseException as error:
                step = partial(self._coroutine.throw, error)


def _body_bytes(scope: Scope, message: Message) -> int:
    if scope.get("method") == "HEAD":
        return 0
    return int(next((value for name, value in message["headers"] if name == b"content-length"), b"0"))

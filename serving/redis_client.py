"""The Redis client that rate limits and the response cache share, and the circuit breaker around it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from models.errors import PlatformError
from models.watch import Watch

T = TypeVar("T")

CONNECT_TIMEOUT_S = 0.2
SOCKET_TIMEOUT_S = 1.0
# One call, including a reconnect.
CALL_TIMEOUT_S = 0.25
# How long no call is made after one that failed.
OPEN_S = 2.0


class RedisUnavailable(PlatformError):
    """A call to Redis failed or timed out."""


class CircuitOpen(RedisUnavailable):
    """No call was made, because an earlier one failed less than OPEN_S ago."""


class RedisCircuitBreaker:
    """Calls to Redis that fail fast: after a failure, further calls raise CircuitOpen for OPEN_S.

    A `watch` reports the failure until a call succeeds.
    """

    def __init__(self, watch: Watch | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._watch = watch
        self._clock = clock
        self._open_until = float("-inf")

    async def call(self, command: Callable[[], Awaitable[T]], *, timeout_s: float | None = None) -> T:
        """Return the result of `command`, within CALL_TIMEOUT_S by default. Raises RedisUnavailable or CircuitOpen."""
        from redis.exceptions import RedisError

        if self._clock() < self._open_until:
            raise CircuitOpen("not called: an earlier call failed")
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S if timeout_s is None else timeout_s):
                result = await command()
        except (RedisError, OSError, TimeoutError) as error:
            self._open_until = self._clock() + OPEN_S
            unavailable = RedisUnavailable(str(error) or type(error).__name__)
            if self._watch is not None:
                self._watch.fail(unavailable)
            raise unavailable from error
        if self._watch is not None:
            self._watch.recover()
        return result

    async def check(self, client: Any) -> None:  # Any: a client of `connect`
        """Make a call that does nothing, so that `watch` knows about Redis without other calls."""
        with contextlib.suppress(RedisUnavailable):
            await self.call(client.ping)


@functools.cache
def connect(url: str) -> Any:  # Any: redis is imported only where it is used
    """Return the `redis.asyncio.Redis` of `url`, one per process. It connects at its first call."""
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=SOCKET_TIMEOUT_S,
        # One immediate retry, for a connection that the server closed while it was idle.
        retry=Retry(NoBackoff(), 1),
        health_check_interval=0,
    )

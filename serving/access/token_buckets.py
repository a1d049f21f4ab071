"""Token buckets: how many requests a caller may make, and how many it has left. Knows keys and times, no HTTP.

Kept as one number per caller, the time at which its bucket is full again (the generic cell rate algorithm, ITU-T
I.371): a bucket of `burst` tokens that gets `burst` of them back in `period_s`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

log = logging.getLogger("makunouchi.limits")

# Callers that are remembered. Beyond, those whose buckets are full again are forgotten, then the oldest.
MAX_CALLERS = 100_000
# A server that does not answer is not asked again for so long.
REST_S = 2.0
TIMEOUT_S = 0.25


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` requests at once, and as many in every `period_s`."""

    burst: int
    period_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may go on, how many may follow at once, and in how many seconds the next one may / all may."""

    is_allowed: bool
    remaining: int
    retry_after_s: float
    reset_s: float


class TokenBuckets(Protocol):
    """Where the buckets are."""

    async def take(self, key: str, rate: Rate) -> Verdict:
        """Take one token from the bucket of `key`. Raises TokenBucketsUnavailable."""
        ...

    async def close(self) -> None: ...


class TokenBucketsUnavailable(Exception):
    """Where the buckets are cannot be reached."""


class MemoryTokenBuckets:
    """The buckets of this process."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, max_callers: int = MAX_CALLERS) -> None:
        self._clock = clock
        self._max_callers = max_callers
        self._full_at: dict[str, float] = {}

    async def take(self, key: str, rate: Rate) -> Verdict:
        """As `TokenBuckets.take`; never raises."""
        now = self._clock()
        full_at, verdict = taken(self._full_at.get(key, now), now, rate)
        if verdict.is_allowed:
            if key not in self._full_at and len(self._full_at) >= self._max_callers:
                self._forget(now)
            self._full_at[key] = full_at
        return verdict

    async def close(self) -> None:
        """Nothing to end."""

    def _forget(self, now: float) -> None:
        self._full_at = {key: at for key, at in self._full_at.items() if at > now}
        for key in list(self._full_at)[: max(0, len(self._full_at) - self._max_callers * 9 // 10)]:
            del self._full_at[key]


def taken(full_at: float, now: float, rate: Rate) -> tuple[float, Verdict]:
    """When the bucket is full again once a token was taken, and the verdict."""
    step = rate.period_s / rate.burst
    full_at = max(full_at, now)
    after = full_at + step
    wait = after - rate.period_s - now
    if wait > 1e-9:
        return full_at, Verdict(False, 0, wait, full_at - now)
    return after, Verdict(True, math.floor((rate.period_s - (after - now)) / step + 1e-9), 0.0, after - now)


_TAKE = """
local now = redis.call('TIME')
now = tonumber(now[1]) + tonumber(now[2]) / 1000000
local burst, period = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = tonumber(redis.call('GET', KEYS[1]) or now)
if full < now then full = now end
local after = full + period / burst
if after - period - now > 1e-6 then
  return {0, tostring(full - now)}
end
redis.call('SET', KEYS[1], string.format('%.6f', after), 'PX', math.ceil((after - now) * 1000) + 1)
return {1, tostring(after - now)}
"""


class RedisTokenBuckets:
    """The buckets of all gateways that share one Redis; its clock counts. `client` is a `redis.asyncio.Redis`."""

    def __init__(self, client: Any, *, prefix: str = "makunouchi:rate:") -> None:  # Any: redis is imported when used
        self._client = client
        self._script = client.register_script(_TAKE)
        self._prefix = prefix
        self._rest_until = 0.0

    async def take(self, key: str, rate: Rate) -> Verdict:
        """As `TokenBuckets.take`. One that does not answer is left alone for REST_S."""
        from redis.exceptions import RedisError

        if time.monotonic() < self._rest_until:
            raise TokenBucketsUnavailable("not asked: it did not answer a moment ago")
        try:
            async with asyncio.timeout(TIMEOUT_S):
                allowed, seconds = await self._script(keys=[self._prefix + key], args=[rate.burst, rate.period_s])
        except (RedisError, OSError, TimeoutError) as error:
            self._rest_until = time.monotonic() + REST_S
            raise TokenBucketsUnavailable(str(error) or type(error).__name__) from error
        reset = float(seconds)
        step = rate.period_s / rate.burst
        if not allowed:
            return Verdict(False, 0, max(0.0, reset + step - rate.period_s), reset)
        return Verdict(True, math.floor((rate.period_s - reset) / step + 1e-4), 0.0, reset)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

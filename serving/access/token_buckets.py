"""Token buckets, in memory or in Redis.

A bucket holds `burst` tokens and refills at `burst` tokens per `period_s`. It is stored as one number, the time at
which it is full again (the generic cell rate algorithm, ITU-T I.371).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from models.watch import Watch
from serving.observability.refused_values import RefusedValues
from serving.redis_client import RedisCircuitBreaker, RedisUnavailable

log = logging.getLogger("makunouchi.limits")

# Buckets in memory. Over this number full buckets are dropped, then the oldest.
MAX_CALLERS = 100_000


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `burst` requests at a time, and `burst` more in every `period_s`."""

    burst: int
    period_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a request is allowed.

    `remaining` is the number of requests that may follow immediately, `retry_after_s` the time to the next token, and
    `reset_s` the time until the bucket is full.
    """

    is_allowed: bool
    remaining: int
    retry_after_s: float
    reset_s: float


class TokenBuckets(Protocol):
    """A store of token buckets."""

    async def take(self, key: str, rate: Rate) -> Decision:
        """Take one token from the bucket of `key`. Raises TokenBucketsUnavailable."""
        ...

    async def check(self) -> None: ...

    async def close(self) -> None: ...


class TokenBucketsUnavailable(Exception):
    """The store of the buckets does not respond."""


class MemoryTokenBuckets:
    """The buckets of this process."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, max_callers: int = MAX_CALLERS) -> None:
        self._clock = clock
        self._max_callers = max_callers
        self._full_at: dict[str, float] = {}

    async def take(self, key: str, rate: Rate) -> Decision:
        """Take one token; see `TokenBuckets.take`. Never raises."""
        now = self._clock()
        full_at, decision = _take(self._full_at.get(key, now), now, rate)
        if decision.is_allowed:
            if key not in self._full_at and len(self._full_at) >= self._max_callers:
                self._forget(now)
            self._full_at[key] = full_at
        return decision

    async def check(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    def _forget(self, now: float) -> None:
        self._full_at = {key: at for key, at in self._full_at.items() if at > now}
        for key in list(self._full_at)[: max(0, len(self._full_at) - self._max_callers * 9 // 10)]:
            del self._full_at[key]


def _take(full_at: float, now: float, rate: Rate) -> tuple[float, Decision]:
    """Take one token from the bucket that is full at `full_at`; return the new time and the decision."""
    step = rate.period_s / rate.burst
    full_at = max(full_at, now)
    after = full_at + step
    wait = after - rate.period_s - now
    if wait > 1e-9:
        return full_at, Decision(False, 0, wait, full_at - now)
    return after, Decision(True, math.floor((rate.period_s - (after - now)) / step + 1e-9), 0.0, after - now)


# A stored value that is no number, or later than a full period allows, is not ours: the bucket is full then.
_TAKE_SCRIPT = """
local now = redis.call('TIME')
now = tonumber(now[1]) + tonumber(now[2]) / 1000000
local burst, period = tonumber(ARGV[1]), tonumber(ARGV[2])
local stored, full, is_foreign = redis.pcall('GET', KEYS[1]), now, 0
if stored then
  full = type(stored) == 'string' and tonumber(stored)
  if not full or not (full <= now + period + 1) then full, is_foreign = now, 1 end
end
if full < now then full = now end
local after = full + period / burst
if after - period - now > 1e-6 then
  return {0, tostring(full - now), is_foreign}
end
redis.call('SET', KEYS[1], string.format('%.6f', after), 'PX', math.ceil((after - now) * 1000) + 1)
return {1, tostring(after - now), is_foreign}
"""


class RedisTokenBuckets:
    """The buckets of all gateways that share one Redis, by the clock of Redis. `client` is a `redis.asyncio.Redis`.

    `without` is what applies while Redis does not respond.
    """

    def __init__(
        self,
        client: Any,  # Any: redis is imported when used
        *,
        without: str = "requests are not limited",
        prefix: str = "makunouchi:rate:",
    ) -> None:
        self._client = client
        self._script = client.register_script(_TAKE_SCRIPT)
        self._prefix = prefix
        self._breaker = RedisCircuitBreaker(
            Watch("redis_rate_limits", "call the Redis of the rate limits", keeps=without, log=log)
        )
        self._refused = RefusedValues("rate limits", log)

    async def take(self, key: str, rate: Rate) -> Decision:
        """Take one token; see `TokenBuckets.take`."""
        try:
            allowed, seconds, is_foreign = await self._breaker.call(
                lambda: self._script(keys=[self._prefix + key], args=[rate.burst, rate.period_s])
            )
        except RedisUnavailable as error:
            raise TokenBucketsUnavailable(str(error)) from error
        if is_foreign:
            self._refused.add()
        reset = float(seconds)
        step = rate.period_s / rate.burst
        if not allowed:
            return Decision(False, 0, max(0.0, reset + step - rate.period_s), reset)
        return Decision(True, math.floor((rate.period_s - reset) / step + 1e-4), 0.0, reset)

    async def check(self) -> None:
        """Notice whether Redis responds."""
        await self._breaker.check(self._client)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

"""Rate limits: one token bucket per caller (key or address) and class of routes.

A request counts once its route and caller are known. A request answered 401 counts for its address in any class, which
slows down guessing of keys. Otherwise probes, metrics and documentation pages are bounded by `serving.http.loop_share`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.types import Scope

from serving.access.callers import caller_key
from serving.access.client_address import Network, trusted_networks
from serving.access.roles import Access, Identity
from serving.access.token_buckets import (
    Decision,
    MemoryTokenBuckets,
    Rate,
    RedisTokenBuckets,
    TokenBuckets,
    TokenBucketsUnavailable,
)
from serving.errors.exceptions import LimitsUnavailable, RateLimited

if TYPE_CHECKING:
    from serving.settings.settings import Settings


# The key of a scope under which the rate limit headers of its response are stored.
HEADERS = "makunouchi.limits"
DEFAULT_IN_PRODUCTION = 100


class RateLimits:
    """The rate of each class of routes, and the buckets. A class without a rate is not limited."""

    def __init__(
        self,
        rates: dict[Access, Rate],
        buckets: TokenBuckets | None = None,
        *,
        trusted: Sequence[Network] = (),
        is_open_without: bool = True,
    ) -> None:
        self._rates = {access: rate for access, rate in rates.items() if rate.burst > 0}
        self._buckets = buckets or MemoryTokenBuckets()
        self.trusted = tuple(trusted)
        # Whether requests are answered while the buckets are unavailable.
        self.is_open_without = is_open_without
        self.is_on = bool(self._rates)

    def limits(self, access: Access) -> bool:
        """Return whether requests of this class are limited."""
        return access in self._rates

    def class_of_refusals(self, access: Access) -> Access:
        """Return the class that counts a refused request: its own, or a limited one when its own is not limited."""
        return access if access in self._rates else next(iter(self._rates), access)

    async def check(self, scope: Scope, access: Access, caller: Identity | None) -> None:
        """Count one request of `caller`, or of its address when the caller has no name.

        Raises RateLimited, or LimitsUnavailable when the buckets are unavailable and the setting is `closed`.
        """
        rate = self._rates.get(access)
        if rate is None:
            return
        try:
            decision = await self._buckets.take(f"{access}:{caller_key(scope, caller, self.trusted)}", rate)
        except TokenBucketsUnavailable as error:
            if self.is_open_without:
                return
            raise LimitsUnavailable("the store of the rate limits does not respond") from error
        headers = _headers(access, rate, decision)
        if not decision.is_allowed:
            seconds = max(1, math.ceil(decision.retry_after_s))
            text = f"more than {rate.burst} requests in {rate.period_s:g} s; retry in {seconds} s"
            raise RateLimited(text, headers={**headers, "Retry-After": str(seconds)})
        scope[HEADERS] = headers

    async def check_store(self) -> None:
        """Notice whether the store of the buckets responds."""
        await self._buckets.check()

    async def close(self) -> None:
        """Close the connections of the buckets."""
        await self._buckets.close()


def _headers(access: Access, rate: Rate, decision: Decision) -> dict[str, str]:
    # draft-ietf-httpapi-ratelimit-headers-10
    return {
        "RateLimit-Policy": f'"{access}";q={rate.burst};w={math.ceil(rate.period_s)}',
        "RateLimit": f'"{access}";r={decision.remaining};t={math.ceil(decision.reset_s)}',
    }


def build_rate_limits(settings: Settings) -> RateLimits:
    """Return the rate limits that the settings define."""
    default = settings.rate_limit
    if default is None:
        default = DEFAULT_IN_PRODUCTION if settings.environment == "production" else 0
    bursts: dict[Access, int | None] = {
        "predict": settings.rate_limit_predict, "read": settings.rate_limit_read, "admin": settings.rate_limit_admin,
    }  # fmt: skip
    rates = {
        access: Rate(default if burst is None else burst, settings.rate_limit_period_s)
        for access, burst in bursts.items()
    }
    buckets: TokenBuckets | None = None
    if settings.rate_limit_store == "redis" and any(rate.burst for rate in rates.values()):
        from serving.redis_client import connect

        is_open = settings.rate_limit_without_store == "open"
        buckets = RedisTokenBuckets(
            connect(settings.redis_url.get_secret_value()),
            without="requests are not limited" if is_open else "requests are refused",
        )
    return RateLimits(
        rates,
        buckets,
        trusted=trusted_networks(settings.trusted_proxies),
        is_open_without=settings.rate_limit_without_store == "open",
    )

"""How much a caller may ask: a bucket for each key or address, and for each class of routes. Knows scopes and settings.

A request counts where its route is known, after its caller is; one that is turned away with 401 counts for its address,
which is what slows guessing down. Health, readiness, metrics and pages are never limited.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.types import Scope

from serving.access.roles import Access, Identity
from serving.access.token_buckets import (
    MemoryTokenBuckets,
    Rate,
    RedisTokenBuckets,
    TokenBuckets,
    TokenBucketsUnavailable,
    Verdict,
)
from serving.errors.exceptions import LimitsUnavailable, RateLimited

if TYPE_CHECKING:
    from serving.settings.settings import Settings

log = logging.getLogger("makunouchi.limits")

# Where a scope keeps the headers that go with its answer.
HEADERS = "makunouchi.limits"
SAY_EVERY_S = 10.0
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class RateLimits:
    """Lets a caller go on or raises RateLimited. A class of routes without a rate is not limited."""

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
        self.is_open_without = is_open_without
        self._said = float("-inf")
        self.is_on = bool(self._rates)

    def limits(self, access: Access) -> bool:
        """Whether calls of this class are limited."""
        return access in self._rates

    async def check(self, scope: Scope, access: Access, caller: Identity | None) -> None:
        """Count one request of `caller`, or of its address where there is no name.

        Raises RateLimited, and LimitsUnavailable where a setting says that nothing goes without counting.
        """
        rate = self._rates.get(access)
        if rate is None:
            return
        who = (
            f"key:{caller.name}" if caller is not None and caller.name else f"address:{client_of(scope, self.trusted)}"
        )
        try:
            verdict = await self._buckets.take(f"{access}:{who}", rate)
        except TokenBucketsUnavailable as error:
            self._say(error)
            if self.is_open_without:
                return
            raise LimitsUnavailable("requests cannot be counted at the moment") from error
        headers = _headers(access, rate, verdict)
        if not verdict.is_allowed:
            seconds = max(1, math.ceil(verdict.retry_after_s))
            text = f"more than {rate.burst} requests in {rate.period_s:g} s; the next one is answered in {seconds} s"
            raise RateLimited(text, headers={**headers, "Retry-After": str(seconds)})
        scope[HEADERS] = headers

    async def close(self) -> None:
        """End what the buckets hold."""
        await self._buckets.close()

    def _say(self, error: TokenBucketsUnavailable) -> None:
        now = time.monotonic()
        if now - self._said >= SAY_EVERY_S:
            self._said = now
            then = "are not limited" if self.is_open_without else "are refused"
            log.error("rate limits cannot be counted, requests %s: %s", then, error)


def _headers(access: Access, rate: Rate, verdict: Verdict) -> dict[str, str]:
    # draft-ietf-httpapi-ratelimit-headers-10: a policy by name, and what is left of it.
    return {
        "RateLimit-Policy": f'"{access}";q={rate.burst};w={math.ceil(rate.period_s)}',
        "RateLimit": f'"{access}";r={verdict.remaining};t={math.ceil(verdict.reset_s)}',
    }


def client_of(scope: Scope, trusted: Sequence[Network]) -> str:
    """The address that a request comes from: the last one in X-Forwarded-For that is no proxy of ours.

    What stands before that one was written by the client, and is not believed. IPv6 counts by its /64: what one
    host has.
    """
    client = scope.get("client")
    address = _address(client[0]) if client else None
    if address is None:
        return "unknown"
    if trusted and _is_in(address, trusted):
        sent = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for").decode("latin-1")
        for hop in reversed(sent.split(",")):
            found = _address(hop.strip())
            if found is None:
                break
            address = found
            if not _is_in(found, trusted):
                break
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return str(address)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdigit():
            return None
        try:
            found = ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return None
    return getattr(found, "ipv4_mapped", None) or found


def _is_in(address: ipaddress.IPv4Address | ipaddress.IPv6Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


DEFAULT_IN_PRODUCTION = 100


def build_rate_limits(settings: Settings) -> RateLimits:
    """The limits that the settings ask for."""
    default = settings.rate_limit
    if default is None:
        default = DEFAULT_IN_PRODUCTION if settings.environment == "production" else 0
    chosen: dict[Access, int | None] = {
        "predict": settings.rate_limit_predict, "read": settings.rate_limit_read, "admin": settings.rate_limit_admin,
    }  # fmt: skip
    rates = {
        access: Rate(default if burst is None else burst, settings.rate_limit_period_s)
        for access, burst in chosen.items()
    }
    buckets: TokenBuckets | None = None
    if settings.rate_limit_store == "redis" and any(rate.burst for rate in rates.values()):
        from serving.redis_client import connect

        buckets = RedisTokenBuckets(connect(settings.redis_url.get_secret_value()))
    return RateLimits(
        rates,
        buckets,
        trusted=[ipaddress.ip_network(each, strict=False) for each in settings.trusted_proxies],
        is_open_without=settings.rate_limit_without_store == "open",
    )

"""Measure the processor time of authentication and rate limits per request: `python -m tests.measure.guard`"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from serving.access.api_keys import KeyRing, hash_of
from serving.access.guard import Guard
from serving.access.rate_limits import RateLimits
from serving.access.token_buckets import Rate

CALLS, ROUNDS = 100_000, 5
KEY = "mk_a-key-that-is-measured"


async def main() -> None:
    """Print microseconds of processor time per request, the minimum over rounds."""
    keys = KeyRing(f"shop:predict:{hash_of(KEY)}")
    guards = {
        "no keys, no limits": Guard(),
        "a key": Guard(keys),
        "a key and a limit in memory": Guard(keys, limits=RateLimits({"predict": Rate(10 * CALLS * ROUNDS)})),
    }
    for name, guard in guards.items():
        best_s = min([await _round_s(guard) for _ in range(ROUNDS)])
        print(f"{name}: {1e6 * best_s / CALLS:.2f} us")


async def _round_s(guard: Guard) -> float:
    headers = [*((f"x-header-{n}".encode(), b"value") for n in range(5)), (b"x-api-key", KEY.encode())]
    scope: dict[str, Any] = {"type": "http", "client": ("127.0.0.1", 5000), "headers": headers}  # Any: ASGI's
    began = time.process_time()
    for _ in range(CALLS):
        await guard.admit(scope, "predict")
    return time.process_time() - began


if __name__ == "__main__":
    asyncio.run(main())

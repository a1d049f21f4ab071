"""Where answers to repeat are kept: the memory of this process, or Redis. Knows keys and bytes, nothing of requests."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

log = logging.getLogger("makunouchi.cache")

# What an entry costs beyond its bytes: key, tuple, place in the order. Measured with tracemalloc, rounded up.
ENTRY_BYTES = 400
REST_S = 2.0
TIMEOUT_S = 0.25


class Store(Protocol):
    """Where answers are kept."""

    async def get(self, key: str) -> bytes | None: ...

    async def put(self, key: str, body: bytes) -> None: ...

    async def clear(self) -> None: ...

    async def close(self) -> None: ...


class MemoryStore:
    """The answers of this process: at most `max_bytes`, the one not used for longest goes first."""

    def __init__(self, max_bytes: int, ttl_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._ttl_s = ttl_s
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self.used_bytes = 0

    async def get(self, key: str) -> bytes | None:
        """`find`."""
        return self.find(key)

    async def put(self, key: str, body: bytes) -> None:
        """`keep`."""
        self.keep(key, body)

    def find(self, key: str) -> bytes | None:
        """The answer kept under `key`, unless it is too old."""
        found = self._kept.get(key)
        if found is None:
            return None
        if found[0] <= self._clock():
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return found[1]

    def keep(self, key: str, body: bytes) -> None:
        """Keep `body`, unless it would take an eighth of all there is."""
        if len(body) + ENTRY_BYTES > self._max_bytes // 8:
            return
        if key in self._kept:
            self._drop(key)
        self._kept[key] = (self._clock() + self._ttl_s, body)
        self.used_bytes += len(body) + ENTRY_BYTES
        while self.used_bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    async def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self.used_bytes = 0

    async def close(self) -> None:
        """Nothing to end."""

    def _drop(self, key: str) -> None:
        self.used_bytes -= len(self._kept.pop(key)[1]) + ENTRY_BYTES


class RedisStore:
    """The answers of all gateways that share one Redis, which bounds its own memory. Without it nothing is kept."""

    def __init__(self, client: Any, ttl_s: float, *, prefix: str = "makunouchi:cache:") -> None:  # Any: redis, lazily
        self._client = client
        self._ttl_ms = max(1, round(ttl_s * 1000))
        self._prefix = prefix
        self._rest_until = 0.0

    async def get(self, key: str) -> bytes | None:
        """The answer kept under `key`."""
        found = await self._try(lambda: self._client.get(self._prefix + key))
        return bytes(found) if found is not None else None

    async def put(self, key: str, body: bytes) -> None:
        """Keep `body`."""
        await self._try(lambda: self._client.set(self._prefix + key, body, px=self._ttl_ms))

    async def clear(self) -> None:
        """Forget everything, of all gateways."""

        async def forget() -> None:
            async for key in self._client.scan_iter(match=self._prefix + "*", count=1000):
                await self._client.unlink(key)

        await self._try(forget, timeout_s=30.0)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _try(self, ask: Callable[[], Awaitable[Any]], *, timeout_s: float = TIMEOUT_S) -> Any:  # Any: a reply
        from redis.exceptions import RedisError

        if time.monotonic() < self._rest_until:
            return None
        try:
            async with asyncio.timeout(timeout_s):
                return await ask()
        except (RedisError, OSError, TimeoutError) as error:
            self._rest_until = time.monotonic() + REST_S
            log.error("the cache's Redis does not answer, so nothing is kept: %s", str(error) or type(error).__name__)
            return None

"""Stores of the response cache: the memory of this process, or Redis."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from serving.redis_client import CircuitOpen, RedisCircuitBreaker, RedisUnavailable

log = logging.getLogger("makunouchi.cache")

# Memory of an entry in addition to its bytes: key, tuple, dictionary slot. Measured with tracemalloc, rounded up.
ENTRY_BYTES = 400
# Clearing Redis scans all keys.
CLEAR_TIMEOUT_S = 30.0


class Store(Protocol):
    """A store of encoded responses. A miss is None."""

    async def get(self, key: str) -> bytes | None: ...

    async def put(self, key: str, entry: bytes) -> None: ...

    async def clear(self) -> None: ...

    async def close(self) -> None: ...


class MemoryStore:
    """An LRU cache of at most `max_bytes`, whose entries expire after `ttl_s`."""

    def __init__(self, max_bytes: int, ttl_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._ttl_s = ttl_s
        self._clock = clock
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self.used_bytes = 0

    async def get(self, key: str) -> bytes | None:
        """Return the entry of `key`."""
        return self.find(key)

    async def put(self, key: str, entry: bytes) -> None:
        """Store an entry."""
        self.keep(key, entry)

    def find(self, key: str) -> bytes | None:
        """Return the entry of `key` without waiting; None when there is none or it has expired."""
        stored = self._entries.get(key)
        if stored is None:
            return None
        expires, entry = stored
        if expires <= self._clock():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry

    def keep(self, key: str, entry: bytes) -> None:
        """Store an entry without waiting, unless it is larger than an eighth of the cache."""
        if len(entry) + ENTRY_BYTES > self._max_bytes // 8:
            return
        if key in self._entries:
            self._drop(key)
        self._entries[key] = (self._clock() + self._ttl_s, entry)
        self.used_bytes += len(entry) + ENTRY_BYTES
        while self.used_bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    async def clear(self) -> None:
        """Drop all entries."""
        self._entries.clear()
        self.used_bytes = 0

    async def close(self) -> None:
        """Do nothing."""

    def _drop(self, key: str) -> None:
        self.used_bytes -= len(self._entries.pop(key)[1]) + ENTRY_BYTES


class RedisStore:
    """The entries of all gateways that share one Redis, which limits its own memory.

    While Redis does not respond, every lookup is a miss and nothing is stored.
    """

    def __init__(self, client: Any, ttl_s: float, *, prefix: str = "makunouchi:cache:") -> None:  # Any: redis, lazily
        self._client = client
        self._ttl_ms = max(1, round(ttl_s * 1000))
        self._prefix = prefix
        self._breaker = RedisCircuitBreaker()

    async def get(self, key: str) -> bytes | None:
        """Return the entry of `key`."""
        entry = await self._call(lambda: self._client.get(self._prefix + key))
        return bytes(entry) if entry is not None else None

    async def put(self, key: str, entry: bytes) -> None:
        """Store an entry."""
        await self._call(lambda: self._client.set(self._prefix + key, entry, px=self._ttl_ms))

    async def clear(self) -> None:
        """Drop the entries of all gateways."""

        async def unlink_all() -> None:
            async for key in self._client.scan_iter(match=self._prefix + "*", count=1000):
                await self._client.unlink(key)

        await self._call(unlink_all, timeout_s=CLEAR_TIMEOUT_S)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _call(self, command: Callable[[], Awaitable[Any]], *, timeout_s: float | None = None) -> Any:
        # Any: a reply of Redis
        try:
            return await self._breaker.call(command, timeout_s=timeout_s)
        except CircuitOpen:
            return None
        except RedisUnavailable as error:
            log.error("the Redis of the response cache does not respond, responses are not cached: %s", error)
            return None

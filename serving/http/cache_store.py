"""Stores of the response cache: the memory of this process, or Redis."""

from __future__ import annotations

import hmac
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from models.watch import Watch
from serving.observability.refused_values import RefusedValues
from serving.redis_client import RedisCircuitBreaker, RedisUnavailable

log = logging.getLogger("makunouchi.cache")

# Memory of an entry in addition to its bytes: key, tuple, dictionary slot. Measured with tracemalloc, rounded up.
ENTRY_BYTES = 400
# Clearing Redis scans all keys.
CLEAR_TIMEOUT_S = 30.0
_SIGNATURE_BYTES = 32


class Store(Protocol):
    """A store of encoded responses. A miss is None."""

    async def get(self, key: str) -> bytes | None: ...

    async def put(self, key: str, entry: bytes) -> None: ...

    async def clear(self) -> None: ...

    async def check(self) -> None: ...

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

    async def check(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    def _drop(self, key: str) -> None:
        self.used_bytes -= len(self._entries.pop(key)[1]) + ENTRY_BYTES


class RedisStore:
    """The entries of all gateways that share one Redis, which limits its own memory.

    While Redis does not respond, every lookup is a miss and nothing is stored. So is an entry that others wrote: with a
    `secret` entries are signed together with their keys, and `is_valid` checks the form of each.
    """

    def __init__(
        self,
        client: Any,  # Any: redis is imported where it is used
        ttl_s: float,
        *,
        secret: str = "",
        is_valid: Callable[[str, bytes], bool] = lambda key, entry: True,
        prefix: str = "makunouchi:cache:",
    ) -> None:
        self._client = client
        self._ttl_ms = max(1, round(ttl_s * 1000))
        self._secret = secret.encode()
        self._is_valid = is_valid
        self._prefix = prefix
        watch = Watch("redis_cache", "call the Redis of the response cache", keeps="responses are not cached", log=log)
        self._breaker = RedisCircuitBreaker(watch)
        self._refused = RefusedValues("cache", log)

    async def get(self, key: str) -> bytes | None:
        """Return the entry of `key`."""
        stored = await self._call(lambda: self._read(key))
        if stored is None:
            return None
        if isinstance(stored, bytes):
            size = _SIGNATURE_BYTES if self._secret else 0
            signature, entry = stored[:size], stored[size:]
            if hmac.compare_digest(signature, self._signature(key, entry)) and self._is_valid(key, entry):
                return entry
        self._refused.add()
        return None

    async def put(self, key: str, entry: bytes) -> None:
        """Store an entry."""
        signed = self._signature(key, entry) + entry
        await self._call(lambda: self._client.set(self._prefix + key, signed, px=self._ttl_ms))

    async def clear(self) -> None:
        """Drop the entries of all gateways."""

        async def unlink_all() -> None:
            async for key in self._client.scan_iter(match=self._prefix + "*", count=1000):
                await self._client.unlink(key)

        await self._call(unlink_all, timeout_s=CLEAR_TIMEOUT_S)

    async def check(self) -> None:
        """Notice whether Redis responds."""
        await self._breaker.check(self._client)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _read(self, key: str) -> Any:  # Any: a reply of Redis
        from redis.exceptions import ResponseError

        try:
            return await self._client.get(self._prefix + key)
        except ResponseError as error:
            # A list or another type: this entry is not ours, but Redis works.
            if str(error).startswith("WRONGTYPE"):
                return b""
            raise

    def _signature(self, key: str, entry: bytes) -> bytes:
        """Return the signature of an entry, which is empty without a secret."""
        if not self._secret:
            return b""
        return hmac.digest(self._secret, f"{self._prefix}{key}\n".encode() + entry, "sha256")

    async def _call(self, command: Callable[[], Awaitable[Any]], *, timeout_s: float | None = None) -> Any:
        # Any: a reply of Redis
        try:
            return await self._breaker.call(command, timeout_s=timeout_s)
        except RedisUnavailable:
            return None

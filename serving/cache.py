"""Answers repeated requests without asking the model. Knows keys and bytes, never models.

A key is the operation, the model, its version, and the request's content with what does not matter taken out. Equal
requests in flight are one: the first is answered, the others wait for its answer. Only operations whose answer follows
from these alone take part: images and tables. Recommendations do not: feedback changes them at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

import orjson
from starlette.requests import Request
from starlette.responses import Response

from serving.runners import ModelRef

if TYPE_CHECKING:
    from serving.settings import Settings

log = logging.getLogger("makunouchi.cache")

HEADER = "X-Cache"
# What an entry costs beyond its bytes: key, tuple, place in the order. Measured with tracemalloc, rounded up.
ENTRY_BYTES = 400
REST_S = 2.0
TIMEOUT_S = 0.25
_JSON = "application/json"
# What an answer says of itself, and has to say each time.
_KEPT_HEADERS = ("API-Version", "Deprecation", "Link", "Sunset", "Vary")


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
        """The answer kept under `key`, unless it is too old."""
        found = self._kept.get(key)
        if found is None:
            return None
        if found[0] <= self._clock():
            self._drop(key)
            return None
        self._kept.move_to_end(key)
        return found[1]

    async def put(self, key: str, body: bytes) -> None:
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


class ResponseCache:
    """Answers from `store`, or has the answer made, once for all that ask the same at the same time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._making: dict[str, asyncio.Future[bytes | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer(
        self, request: Request, operation: str, model: ModelRef | None, make: Callable[[], Awaitable[Response]]
    ) -> Response:
        """The answer to `request`, with `X-Cache`: hit, miss, or bypass where the client asked for a new one."""
        wishes = {part.strip().lower() for part in request.headers.get("cache-control", "").split(",")}
        if model is None or "no-store" in wishes:
            return _told(await make(), "bypass")
        key = await key_of(request, operation, model)
        if wishes & {"no-cache", "max-age=0"}:
            return _told((await self._make(key, model, make))[0], "bypass")
        while True:
            making = self._making.get(key)
            # One that waited in vain, for a failure or another version, makes its own or waits for the next that does.
            body = await self._store.get(key) if making is None else await asyncio.shield(making)
            if body is not None:
                return _unpacked(body)
            if key not in self._making:
                return _told(await self._lead(key, model, make), "miss")

    def clear(self) -> None:
        """Forget everything, in the background. Call inside an event loop."""
        task = asyncio.get_running_loop().create_task(self._store.clear())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End what the store holds."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._store.close()

    async def _lead(self, key: str, model: ModelRef, make: Callable[[], Awaitable[Response]]) -> Response:
        making = self._making[key] = asyncio.get_running_loop().create_future()
        body: bytes | None = None
        try:
            response, body = await self._make(key, model, make)
            return response
        finally:
            del self._making[key]
            making.set_result(body)

    async def _make(
        self, key: str, model: ModelRef, make: Callable[[], Awaitable[Response]]
    ) -> tuple[Response, bytes | None]:
        response = await make()
        body = bytes(response.body)
        if response.status_code != 200 or response.headers.get("vary") == "*" or _version(body) != model.version:
            return response, None
        kept = _packed(response, body)
        await self._store.put(key, kept)
        return response, kept


async def key_of(request: Request, operation: str, model: ModelRef) -> str:
    """The key of a request to `operation` that `model` answers."""
    digest = hashlib.sha256()
    body = await request.body()
    content_type = request.headers.get("content-type", "")
    for part in (
        request.headers.get("api-version", ""),
        request.headers.get("content-encoding", ""),
        "&".join(sorted(request.url.query.split("&"))),
        content_type.partition(";")[0].strip().lower(),
    ):
        _add(digest, part.encode())
    for piece in _pieces(body, content_type):
        _add(digest, piece)
    return f"{operation}:{model.name}:{model.version}:{digest.hexdigest()}"


def _pieces(body: bytes, content_type: str) -> list[bytes]:
    """What of a body matters: JSON whatever its spaces and the order of its keys, a form whatever its boundary."""
    kind, _, parameters = content_type.partition(";")
    if kind.strip().lower() == _JSON:
        try:
            return [orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)]
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            return [body]
    name, _, boundary = parameters.strip().partition("=")
    if name.lower() == "boundary" and boundary.strip('"'):
        # Cut, not replaced: whatever stood in its place could be in a file.
        return body.split(b"--" + boundary.strip('"').encode("latin-1", "replace"))
    return [content_type.encode(), body]


def _add(digest: Any, piece: bytes) -> None:  # Any: hashlib's objects have no public type
    digest.update(len(piece).to_bytes(8, "big"))
    digest.update(piece)


def _packed(response: Response, body: bytes) -> bytes:
    """A line of JSON with the headers that belong to an answer, and the answer."""
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    return orjson.dumps(headers) + b"\n" + body


def _unpacked(kept: bytes) -> Response:
    headers, _, body = kept.partition(b"\n")
    return Response(body, 200, {**orjson.loads(headers), "Cache-Control": "no-store", HEADER: "hit"}, _JSON)


def _version(body: bytes) -> str | None:
    try:
        return str(orjson.loads(body)["model"]["version"])
    except (ValueError, KeyError, TypeError):
        return None


def _told(response: Response, how: str) -> Response:
    response.headers[HEADER] = how
    return response


def build_cache(settings: Settings) -> ResponseCache | None:
    """The cache that the settings ask for, if they do."""
    if not settings.cache_bytes:
        return None
    if settings.cache_store == "redis":
        from serving.redis_client import connect

        return ResponseCache(RedisStore(connect(settings.redis_url.get_secret_value()), settings.cache_ttl_s))
    return ResponseCache(MemoryStore(settings.cache_bytes, settings.cache_ttl_s))

"""The response cache, which answers repeated requests without calling the model.

A key consists of the operation, the model, its version, and the normalized content of the request. Of equal requests in
flight only the first calls the model, and the others wait for its response. Only operations whose response depends on
nothing else are cached: image classification and tabular predictions. Recommendations are not: feedback changes them.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from serving.http.cache_store import MemoryStore, RedisStore, Store
from serving.runners.interface import ModelRef

if TYPE_CHECKING:
    from serving.settings.settings import Settings

HEADER = "X-Cache"
_JSON = "application/json"
# JSON of more bytes is compared as it is: it is not parsed before its bounds are checked.
_MAX_NORMALIZED_BYTES = 64 << 10
# A thread computes the digest of more bytes.
_LARGE_BYTES = 1 << 20
# The rest of a form of more parts is compared with its boundary.
_MAX_PARTS = 300
# Headers that are stored with a response.
_STORED_HEADERS = ("API-Version", "Deprecation", "Link", "Sunset", "Vary")
_NO_HEADERS: Mapping[str, str] = {}


class ResponseCache:
    """A cache of responses in `store`, which calls the model once for equal requests in flight."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pending: dict[str, asyncio.Future[bytes | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer(
        self, request: Request, operation: str, model: ModelRef | None, make: Callable[[], Awaitable[Response]]
    ) -> Response:
        """Return the response to `request`, with `X-Cache`: hit, miss, or bypass as the client requests."""
        directives = {part.strip().lower() for part in request.headers.get("cache-control", "").split(",")}
        if model is None or "no-store" in directives:
            return _with_status(await make(), "bypass")
        key = await key_of(request, operation, model)
        if directives & {"no-cache", "max-age=0"}:
            return _with_status((await self._make(key, model, make))[0], "bypass")
        while True:
            pending = self._pending.get(key)
            # After a failed response, or one of another version, one of the waiting requests becomes the next leader.
            entry = await self._store.get(key) if pending is None else await asyncio.shield(pending)
            if entry is not None:
                return _unpacked(entry)
            if key not in self._pending:
                return _with_status(await self._lead(key, model, make), "miss")

    @property
    def memory(self) -> MemoryStore | None:
        """The store, if lookups need no waiting."""
        return self._store if isinstance(self._store, MemoryStore) else None

    def pending(self, key: str) -> asyncio.Future[bytes | None] | None:
        """Return the future of the entry of a pending request for `key`; its result is None if the request fails."""
        return self._pending.get(key)

    def begin(self, key: str) -> None:
        """Register a pending request for `key`; `end` must follow. Call inside an event loop."""
        self._pending[key] = asyncio.get_running_loop().create_future()

    def end(self, key: str, entry: bytes | None) -> None:
        """Finish the pending request for `key`; waiting requests receive `entry`."""
        self._pending.pop(key).set_result(entry)

    def clear(self) -> None:
        """Drop all entries in the background. Call inside an event loop."""
        task = asyncio.get_running_loop().create_task(self._store.clear())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Close the store."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._store.close()

    async def _lead(self, key: str, model: ModelRef, make: Callable[[], Awaitable[Response]]) -> Response:
        self.begin(key)
        entry: bytes | None = None
        try:
            response, entry = await self._make(key, model, make)
            return response
        finally:
            self.end(key, entry)

    async def _make(
        self, key: str, model: ModelRef, make: Callable[[], Awaitable[Response]]
    ) -> tuple[Response, bytes | None]:
        response = await make()
        body = bytes(response.body)
        if response.status_code != 200 or response.headers.get("vary") == "*" or version_of(body) != model.version:
            return response, None
        entry = packed(body, response.headers)
        await self._store.put(key, entry)
        return response, entry


def key_of_json(operation: str, model: ModelRef, body: bytes | bytearray) -> str:
    """Return the same key as `key_of`, for a JSON body without a query and without headers that are part of the key."""
    digest = _plain_json_digest().copy()
    for piece in _pieces(body, _JSON):
        _add(digest, piece)
    return f"{operation}:{model.name}:{model.version}:{digest.hexdigest()}"


async def key_of(request: Request, operation: str, model: ModelRef) -> str:
    """Return the cache key of a request to `operation`, answered by `model`."""
    body = await request.body()
    if len(body) > _LARGE_BYTES:
        # hashlib releases the interpreter for large pieces.
        return await asyncio.to_thread(_key, request, body, operation, model)
    return _key(request, body, operation, model)


def _key(request: Request, body: bytes, operation: str, model: ModelRef) -> str:
    digest = hashlib.sha256()
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


def _pieces(body: bytes | bytearray, content_type: str) -> Sequence[bytes | bytearray]:
    """Return the significant parts of a body: JSON without spaces and with sorted keys, a form without its boundary."""
    media_type, _, parameters = content_type.partition(";")
    if media_type.strip().lower() == _JSON:
        if len(body) > _MAX_NORMALIZED_BYTES:
            return [body]
        try:
            return [orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)]
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            return [body]
    name, _, boundary = parameters.strip().partition("=")
    if name.lower() == "boundary" and boundary.strip('"'):
        # Split, not replaced: any replacement could also occur in a file.
        return body.split(b"--" + boundary.strip('"').encode("latin-1", "replace"), _MAX_PARTS)
    return [content_type.encode(), body]


@functools.cache
def _plain_json_digest() -> Any:  # Any: hashlib's objects have no public type
    """Return the digest of the parts that `key_of` adds before the body."""
    digest = hashlib.sha256()
    for part in ("", "", "", _JSON):
        _add(digest, part.encode())
    return digest


def _add(digest: Any, piece: bytes | bytearray) -> None:  # Any: hashlib's objects have no public type
    digest.update(len(piece).to_bytes(8, "big"))
    digest.update(piece)


def packed(body: bytes, headers: Mapping[str, str] = _NO_HEADERS) -> bytes:
    """Return a response as a cache entry: one line of JSON with its headers, then the body."""
    return orjson.dumps({name: headers[name] for name in _STORED_HEADERS if name in headers}) + b"\n" + body


def body_of(entry: bytes) -> bytes | None:
    """Return the body of a cache entry, or None if the entry has headers."""
    headers, _, body = entry.partition(b"\n")
    return body if headers == b"{}" else None


def _unpacked(entry: bytes) -> Response:
    headers, _, body = entry.partition(b"\n")
    return _with_status(Response(body, 200, {**orjson.loads(headers), "Cache-Control": "no-store"}, _JSON), "hit")


def version_of(body: bytes) -> str | None:
    """Return the model version that a response body names."""
    try:
        return str(orjson.loads(body)["model"]["version"])
    except (ValueError, KeyError, TypeError):
        return None


def _with_status(response: Response, status: str) -> Response:
    response.headers[HEADER] = status
    return response


def build_cache(settings: Settings) -> ResponseCache | None:
    """Return the cache that the settings define, or None."""
    if not settings.cache_bytes:
        return None
    if settings.cache_store == "redis":
        from serving.redis_client import connect

        return ResponseCache(RedisStore(connect(settings.redis_url.get_secret_value()), settings.cache_ttl_s))
    return ResponseCache(MemoryStore(settings.cache_bytes, settings.cache_ttl_s))

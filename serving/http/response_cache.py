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

from serving.context import current_priority, current_public_url
from serving.header_fields import elements, media_type, parameters
from serving.http.cache_entry import has_valid_form, packed, unpacked, version_of
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


class ResponseCache:
    """A cache of responses in `store`, which calls the model once for equal requests in flight.

    Every front end does the same: `take` the entry of a key, or else answer the request and `finish` the key.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pending: dict[str, asyncio.Future[bytes | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_local(self) -> bool:
        """Whether the store is in this process, so that look-ups need no waiting."""
        return isinstance(self._store, MemoryStore)

    def take(self, key: str) -> bytes | asyncio.Future[bytes | None] | None:
        """Return the entry of `key`, or the future of the entry that an equal request in flight makes.

        The result of the future is None if that request fails. For None, the caller has to answer and to call `finish`.
        Call inside an event loop.
        """
        pending = self._pending.get(key)
        if pending is not None:
            return pending
        entry = self._store.find(key) if isinstance(self._store, MemoryStore) else None
        if entry is None:
            self._pending[key] = asyncio.get_running_loop().create_future()
        return entry

    def finish(self, key: str, entry: bytes | None) -> None:
        """Give `entry`, or None for no response, to the requests that wait for `key`. Keep it in a local store."""
        if entry is not None and isinstance(self._store, MemoryStore):
            self._store.keep(key, entry)
        self._pending.pop(key).set_result(entry)

    async def answer(
        self, request: Request, operation: str, model: ModelRef | None, make: Callable[[], Awaitable[Response]]
    ) -> Response:
        """Return the response to `request`, with `X-Cache`: hit, miss, or bypass as the client requests."""
        directives = {part.lower().replace('"', "") for part in elements(request.headers.getlist("cache-control"))}
        if model is None or "no-store" in directives:
            return _with_status(await make(), "bypass")
        key = await key_of(request, operation, model)
        if directives & {"no-cache", "max-age=0"}:
            return _with_status(await self._make(key, model, make), "bypass")
        if current_priority() == "batch":
            # Equal requests of another priority do not wait for this one.
            entry = await self._store.get(key)
            return _with_status(await self._make(key, model, make), "miss") if entry is None else _unpacked(entry)
        while True:
            match = self.take(key)
            if match is None:
                return await self._lead(key, model, make)
            # After a failed response, or one of another version, one of the waiting requests becomes the next leader.
            entry = match if isinstance(match, bytes) else await asyncio.shield(match)
            if entry is not None:
                return _unpacked(entry)

    def clear(self) -> None:
        """Drop all entries in the background. Call inside an event loop."""
        task = asyncio.get_running_loop().create_task(self._store.clear())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def check(self) -> None:
        """Notice whether the store responds."""
        await self._store.check()

    async def close(self) -> None:
        """Close the store."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._store.close()

    async def _make(self, key: str, model: ModelRef, make: Callable[[], Awaitable[Response]]) -> Response:
        """Return the response of a request for which no other one waits, and keep it."""
        response = await make()
        entry = entry_of(bytes(response.body), model, response)
        if entry is not None:
            await self._store.put(key, entry)
        return response

    async def _lead(self, key: str, model: ModelRef, make: Callable[[], Awaitable[Response]]) -> Response:
        entry: bytes | None = None
        try:
            if not self.is_local:
                entry = await self._store.get(key)
                if entry is not None:
                    return _unpacked(entry)
            response = await make()
            entry = entry_of(bytes(response.body), model, response)
            if entry is not None and not self.is_local:
                await self._store.put(key, entry)
            return _with_status(response, "miss")
        finally:
            self.finish(key, entry)


def key_of_json(operation: str, model: ModelRef, body: bytes | bytearray) -> str:
    """Return the same key as `key_of`, for a JSON body without a query and without headers that are part of the key."""
    return _key(operation, model, ("", "", "", _JSON), _pieces(body, _JSON))


async def key_of(request: Request, operation: str, model: ModelRef) -> str:
    """Return the cache key of a request to `operation`, answered by `model`."""
    body = await request.body()
    content_type = request.headers.get("content-type", "")
    head = (
        # Of links in headers of the response.
        current_public_url().prefix,
        request.headers.get("api-version", ""),
        "&".join(sorted(request.url.query.split("&"))),
        media_type(content_type),
    )
    if len(body) > _LARGE_BYTES:
        # hashlib releases the interpreter for large pieces.
        return await asyncio.to_thread(lambda: _key(operation, model, head, _pieces(body, content_type)))
    return _key(operation, model, head, _pieces(body, content_type))


def _key(operation: str, model: ModelRef, head: tuple[str, ...], pieces: Sequence[bytes | bytearray]) -> str:
    digest = _digest_of(head).copy()
    for piece in pieces:
        _add(digest, piece)
    return f"{operation}:{model.name}:{model.version}:{digest.hexdigest()}"


def _pieces(body: bytes | bytearray, content_type: str) -> Sequence[bytes | bytearray]:
    """Return the significant parts of a body: JSON without spaces and with sorted keys, a form without its boundary."""
    media_type, given = parameters(content_type)
    if media_type.lower() == _JSON:
        if len(body) > _MAX_NORMALIZED_BYTES:
            return [body]
        try:
            return [orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)]
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            return [body]
    if boundary := given.get("boundary"):
        # Split, not replaced: any replacement could also occur in a file.
        return body.split(b"--" + boundary.encode("latin-1", "replace"), _MAX_PARTS)
    return [content_type.encode(), body]


@functools.lru_cache(maxsize=64)
def _digest_of(head: tuple[str, ...]) -> Any:  # Any: hashlib's objects have no public type
    digest = hashlib.sha256()
    for part in head:
        _add(digest, part.encode())
    return digest


def _add(digest: Any, piece: bytes | bytearray) -> None:  # Any: hashlib's objects have no public type
    digest.update(len(piece).to_bytes(8, "big"))
    digest.update(piece)


def entry_of(body: bytes, model: ModelRef, response: Response | None = None) -> bytes | None:
    """Return a response of `model` as a cache entry.

    `response` has the status and the headers; without it, they are 200 and none. Return None for a response that must
    not be stored: an error, one that varies with everything, or one of another version.
    """
    headers: Mapping[str, str] = {} if response is None else response.headers
    if response is not None and (response.status_code != 200 or headers.get("vary") == "*"):
        return None
    return packed(body, headers) if version_of(body) == model.version else None


def _unpacked(entry: bytes) -> Response:
    headers, body = unpacked(entry)
    return _with_status(Response(body, 200, {**headers, "Cache-Control": "no-store"}, _JSON), "hit")


def _with_status(response: Response, status: str) -> Response:
    response.headers[HEADER] = status
    return response


def build_cache(settings: Settings) -> ResponseCache | None:
    """Return the cache that the settings define, or None."""
    if not settings.cache_bytes:
        return None
    if settings.cache_store == "redis":
        from serving.redis_client import connect

        client, secret = connect(settings.redis_url.get_secret_value()), settings.redis_secret.get_secret_value()
        return ResponseCache(RedisStore(client, settings.cache_ttl_s, secret=secret, is_valid=has_valid_form))
    return ResponseCache(MemoryStore(settings.cache_bytes, settings.cache_ttl_s))

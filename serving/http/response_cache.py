"""The response cache, which answers repeated requests without calling the model.

A key consists of the operation, the model, its version, and the normalized content of the request. Of equal requests in
flight only the first calls the model, and the others wait for its response. Only operations whose response depends on
nothing else are cached: image classification and tabular predictions. Recommendations are not: feedback changes them.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from serving.http.cache_entry import has_valid_form, packed, unpacked, version_of
from serving.http.cache_store import MemoryStore, RedisStore, Store
from serving.runners.interface import ModelRef

if TYPE_CHECKING:
    from serving.settings.settings import Settings

HEADER = "X-Cache"
_JSON = "application/json"


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


def _pieces(body: bytes | bytearray, content_type: str) -> Sequence[bytes | bytearray]:
    """Return the significant parts of a body: JSON without spaces and with sorted keys, a form without its boundary."""
    media_type, _, parameters = content_type.partition(";")
    if media_type.strip().lower() == _JSON:
        try:
            return [orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)]
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            return [body]
    name, _, boundary = parameters.strip().partition("=")
    if name.lower() == "boundary" and boundary.strip('"'):
        # Split, not replaced: any replacement could also occur in a file.
        return body.split(b"--" + boundary.strip('"').encode("latin-1", "replace"))
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

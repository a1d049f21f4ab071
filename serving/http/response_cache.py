"""Answers repeated requests without asking the model. Knows keys and bytes, never models.

A key is the operation, the model, its version, and the request's content with what does not matter taken out. Equal
requests in flight are one: the first is answered, the others wait for its answer. Only operations whose answer follows
from these alone take part: images and tables. Recommendations do not: feedback changes them at once.
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
# What an answer says of itself, and has to say each time.
_KEPT_HEADERS = ("API-Version", "Deprecation", "Link", "Sunset", "Vary")
_NO_HEADERS: Mapping[str, str] = {}


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

    @property
    def memory(self) -> MemoryStore | None:
        """The store, where looking into it is no waiting."""
        return self._store if isinstance(self._store, MemoryStore) else None

    def pending(self, key: str) -> asyncio.Future[bytes | None] | None:
        """Return the response that is being computed for `key`, if there is one; None on failure."""
        return self._making.get(key)

    def begin(self, key: str) -> None:
        """The answer for `key` is being made from now on: `end` has to follow. Call inside an event loop."""
        self._making[key] = asyncio.get_running_loop().create_future()

    def end(self, key: str, kept: bytes | None) -> None:
        """The answer for `key` is made; those who wait for it get `kept`."""
        self._making.pop(key).set_result(kept)

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
        self.begin(key)
        body: bytes | None = None
        try:
            response, body = await self._make(key, model, make)
            return response
        finally:
            self.end(key, body)

    async def _make(
        self, key: str, model: ModelRef, make: Callable[[], Awaitable[Response]]
    ) -> tuple[Response, bytes | None]:
        response = await make()
        body = bytes(response.body)
        if response.status_code != 200 or response.headers.get("vary") == "*" or version_of(body) != model.version:
            return response, None
        kept = packed(body, response.headers)
        await self._store.put(key, kept)
        return response, kept


def key_of_json(operation: str, model: ModelRef, body: bytes | bytearray) -> str:
    """`key_of` a request whose body is JSON, and which has neither a query nor a header that matters."""
    digest = _of_plain_json().copy()
    for piece in _pieces(body, _JSON):
        _add(digest, piece)
    return f"{operation}:{model.name}:{model.version}:{digest.hexdigest()}"


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


def _pieces(body: bytes | bytearray, content_type: str) -> Sequence[bytes | bytearray]:
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


@functools.cache
def _of_plain_json() -> Any:  # Any: hashlib's objects have no public type
    """The digest of what `key_of` takes in before the body."""
    digest = hashlib.sha256()
    for part in ("", "", "", _JSON):
        _add(digest, part.encode())
    return digest


def _add(digest: Any, piece: bytes | bytearray) -> None:  # Any: hashlib's objects have no public type
    digest.update(len(piece).to_bytes(8, "big"))
    digest.update(piece)


def packed(body: bytes, headers: Mapping[str, str] = _NO_HEADERS) -> bytes:
    """An answer as it is kept: a line of JSON with the headers that belong to it, and the answer."""
    return orjson.dumps({name: headers[name] for name in _KEPT_HEADERS if name in headers}) + b"\n" + body


def body_of(kept: bytes) -> bytes | None:
    """The answer that was kept, None where headers belong to it."""
    headers, _, body = kept.partition(b"\n")
    return body if headers == b"{}" else None


def _unpacked(kept: bytes) -> Response:
    headers, _, body = kept.partition(b"\n")
    return _told(Response(body, 200, {**orjson.loads(headers), "Cache-Control": "no-store"}, _JSON), "hit")


def version_of(body: bytes) -> str | None:
    """The version of the model that an answer names."""
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

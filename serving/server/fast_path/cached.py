"""Cached responses on the fast path: the keys of the response cache, and one call for equal requests in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from serving.http.cache_entry import body_of, packed, version_of
from serving.http.cache_store import MemoryStore
from serving.http.response_cache import HEADER, ResponseCache, key_of_json
from serving.runners.interface import ModelRef
from serving.server.fast_path.request import FastRequest

_HEADER_LINES: Final = {how: f"{HEADER.lower()}: {how}\r\n".encode() for how in ("hit", "miss", "bypass")}


@dataclass(frozen=True, slots=True)
class CachedResponses:
    """The responses of one operation in `memory`. `model` returns the model that answers now, if it is known."""

    cache: ResponseCache
    memory: MemoryStore
    operation: str
    model: Callable[[], ModelRef | None]

    def take(self, request: FastRequest) -> bool:
        """Return whether `request` is answered without a call: from the store, or by an equal request in flight.

        Otherwise the caller has to answer it, and equal requests wait for its response until then.
        """
        model = self.model()
        if model is None:
            request.extra_headers = _HEADER_LINES["bypass"]
            return False
        key = key_of_json(self.operation, model, request.body)
        pending = self.cache.pending(key)
        if pending is not None:
            pending.add_done_callback(partial(_follow, request))
            return True
        entry = self.memory.find(key)
        if entry is not None:
            _repeat(request, entry)
            return True
        self.cache.begin(key)
        request.extra_headers, request.on_response = _HEADER_LINES["miss"], partial(self._store, key, model)
        return False

    def _store(self, key: str, model: ModelRef, body: bytes | None) -> None:
        entry = None
        if body is not None and version_of(body) == model.version:
            entry = packed(body)
            self.memory.keep(key, entry)
        self.cache.end(key, entry)


def _follow(request: FastRequest, pending: asyncio.Future[bytes | None]) -> None:
    entry = pending.result()
    if entry is None:
        request.queue.on_failed_wait(request)
    else:
        _repeat(request, entry)


def _repeat(request: FastRequest, entry: bytes) -> None:
    body = body_of(entry)
    if body is None:
        request.fall_back()
        return
    request.extra_headers = _HEADER_LINES["hit"]
    request.queue.recorder.metrics.count_fast_path(request.queue.path, 1)
    request.answer(body)

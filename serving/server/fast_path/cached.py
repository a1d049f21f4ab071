"""Cached responses on the fast path."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from serving.http.cache_entry import body_of
from serving.http.response_cache import HEADER, ResponseCache, entry_of, key_of_json
from serving.runners.interface import ModelRef
from serving.server.fast_path.request import FastRequest

_HEADER_LINES: Final = {status: f"{HEADER.lower()}: {status}\r\n".encode() for status in ("hit", "miss", "bypass")}


@dataclass(frozen=True, slots=True)
class CachedResponses:
    """The responses of one operation in `cache`, whose store is local. `model` returns the model that answers now."""

    cache: ResponseCache
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
        match = self.cache.take(key)
        if match is None:
            request.extra_headers, request.on_response = _HEADER_LINES["miss"], partial(self._finish, key, model)
            return False
        if isinstance(match, bytes):
            _send(request, match)
        else:
            match.add_done_callback(partial(_follow, request))
        return True

    def _finish(self, key: str, model: ModelRef, body: bytes | None) -> None:
        self.cache.finish(key, None if body is None else entry_of(body, model))


def _follow(request: FastRequest, pending: asyncio.Future[bytes | None]) -> None:
    entry = pending.result()
    if entry is None:
        request.queue.on_failed_wait(request)
    else:
        _send(request, entry)


def _send(request: FastRequest, entry: bytes) -> None:
    body = body_of(entry)
    if body is None:
        request.fall_back()
        return
    request.extra_headers = _HEADER_LINES["hit"]
    request.queue.recorder.metrics.count_fast_path(request.queue.path, 1)
    request.answer(body)

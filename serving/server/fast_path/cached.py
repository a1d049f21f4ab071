"""Answers to repeat on the short road, as on the ordinary one: the same keys, and equal requests in flight made once.

Knows keys and bytes, no calls. What is kept where looking would be waiting is left to the ordinary road.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from serving.http.cache_store import MemoryStore
from serving.http.response_cache import HEADER, ResponseCache, body_of, key_of_json, packed, version_of
from serving.runners.interface import ModelRef
from serving.server.fast_path.request import FastRequest

_SAYS: Final = {how: f"{HEADER.lower()}: {how}\r\n".encode() for how in ("hit", "miss", "bypass")}


@dataclass(frozen=True, slots=True)
class CachedResponses:
    """What `cache` keeps in `memory` of one operation; `model` is the one that answers now, where it is known."""

    cache: ResponseCache
    memory: MemoryStore
    operation: str
    model: Callable[[], ModelRef | None]

    def take(self, asked: FastRequest) -> bool:
        """Whether `asked` is answered without a call: with what is kept, or what is being made for an equal request.

        Else it is to be made, and those who ask the same until then wait for it.
        """
        model = self.model()
        if model is None:
            asked.told = _SAYS["bypass"]
            return False
        key = key_of_json(self.operation, model, asked.body)
        making = self.cache.pending(key)
        if making is not None:
            making.add_done_callback(partial(_follow, asked))
            return True
        kept = self.memory.find(key)
        if kept is not None:
            _repeat(asked, kept)
            return True
        self.cache.begin(key)
        asked.told, asked.made = _SAYS["miss"], partial(self._made, key, model)
        return False

    def _made(self, key: str, model: ModelRef, body: bytes | None) -> None:
        kept = None
        if body is not None and version_of(body) == model.version:
            kept = packed(body)
            self.memory.keep(key, kept)
        self.cache.end(key, kept)


def _follow(asked: FastRequest, making: asyncio.Future[bytes | None]) -> None:
    kept = making.result()
    if kept is None:
        asked.road.waited_in_vain(asked)
    else:
        _repeat(asked, kept)


def _repeat(asked: FastRequest, kept: bytes) -> None:
    body = body_of(kept)
    if body is None:
        asked.divert()
        return
    asked.told = _SAYS["hit"]
    asked.road.telemetry.count_fast_path(asked.road.path, 1)
    asked.answer(body)

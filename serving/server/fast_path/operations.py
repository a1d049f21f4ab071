"""The operations that the fast path answers."""

from __future__ import annotations

from typing import Any

from serving.access.guard import Guard
from serving.http.operation import Operation
from serving.http.response_cache import ResponseCache
from serving.kinds.handlers import Handlers
from serving.kinds.interface import Handler
from serving.server.fast_path.batch_queue import MAX_WAITING, FastOperation
from serving.server.fast_path.cached import CachedResponses
from serving.settings.settings import Settings


def fast_operations(
    handlers: Handlers, settings: Settings, guard: Guard, cache: ResponseCache | None
) -> list[FastOperation]:
    """Return the main operations of the models whose requests are small JSON.

    Without those whose responses are cached in a store that is not in this process: a look-up would have to wait.
    """
    max_waiting = min(MAX_WAITING, settings.max_queue_rows)
    firsts = handlers.firsts
    return [
        _fast_operation(operation, handler, guard, cache if handler.is_cached else None, max_waiting)
        for handler in handlers
        if handler.has_fast_path and not (handler.is_cached and cache is not None and not cache.is_local)
        for operation in (*handler.model_operations()[:1], *(handler.operations()[:1] if handler in firsts else ()))
    ]


def _fast_operation(
    main: Operation, handler: Handler[Any], guard: Guard, cache: ResponseCache | None, max_waiting: int
) -> FastOperation:
    answered_by = main.answered_by
    cached = CachedResponses(cache, main.id, answered_by).take if cache is not None and answered_by else None
    return FastOperation(
        main.path,
        handler.answer_json,
        lambda headers: (caller := guard.admit_now(headers, main.access)) is not None and not caller.is_batch,
        lambda: handler.model.is_plain,
        max_waiting,
        from_cache=cached,
        route=main.template,
    )

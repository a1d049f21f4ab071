"""Which calls have a short road. Knows the calls and who may make them."""

from __future__ import annotations

import functools
from dataclasses import replace

from serving.access.guard import Guard
from serving.kinds.build import Handlers
from serving.kinds.recommender.routes import RECOMMEND_PATH
from serving.kinds.served_models import ServedRecommender, ServedTable, answering_model
from serving.kinds.tabular.routes import PREDICT, PREDICT_PATH
from serving.runners.interface import last_heard
from serving.server.fast_path.batch_queue import MAX_WAITING, AnswerEach, FastOperation
from serving.server.fast_path.cached import CachedResponses


def fast_operations(calls: Handlers, guard: Guard) -> list[FastOperation]:
    """Small requests that cost less than their own way: rows of a table, recommendations for one user.

    Without tables while their answers are kept where looking for them is waiting.
    """
    settings, cache = calls.settings, calls.cache
    tables, recommendations = calls.tabular, calls.recommendations
    admits = functools.partial(guard.admits_at_once, access="predict")
    max_waiting = min(MAX_WAITING, settings.max_queue_rows)

    def hot(path: str, answer_each: AnswerEach, served: ServedTable | ServedRecommender) -> FastOperation:
        return FastOperation(path, answer_each, admits, functools.partial(_is_open, served), max_waiting)

    found = [hot(RECOMMEND_PATH, recommendations.recommend_each, recommendations.served)]
    table = hot(PREDICT_PATH, tables.predict_each, tables.served)
    if cache is None or not settings.cache_tables:
        found.append(table)
    elif cache.memory is not None:
        answered_by = functools.partial(answering_model, tables.served)
        found.append(replace(table, repeats=CachedResponses(cache, cache.memory, PREDICT, answered_by).take))
    return found


def _is_open(served: ServedTable | ServedRecommender) -> bool:
    """Whether the default version is there, and nothing else is to be asked."""
    status = last_heard(served.runner)
    return status is not None and status.ready and served.traffic.is_plain

"""Which calls have a short road. Knows the calls and who may make them."""

from __future__ import annotations

import functools
from dataclasses import replace

from serving.app import Calls
from serving.express.repeats import Repeats
from serving.express.road import MAX_WAITING, AnswerEach, ExpressCall
from serving.guard import Guard
from serving.routes.recommendations import RECOMMEND_PATH
from serving.routes.tabular import PREDICT, PREDICT_PATH
from serving.runners import last_heard
from serving.served import ServedRecommender, ServedTable, answering_model


def hot_calls(calls: Calls, guard: Guard) -> list[ExpressCall]:
    """Small requests that cost less than their own way: rows of a table, recommendations for one user.

    Without tables while their answers are kept where looking for them is waiting.
    """
    settings, cache = calls.settings, calls.cache
    tables, recommendations = calls.tabular, calls.recommendations
    admits = functools.partial(guard.admits_at_once, access="predict")
    max_waiting = min(MAX_WAITING, settings.max_queue_rows)

    def hot(path: str, answer_each: AnswerEach, served: ServedTable | ServedRecommender) -> ExpressCall:
        return ExpressCall(path, answer_each, admits, functools.partial(_is_open, served), max_waiting)

    found = [hot(RECOMMEND_PATH, recommendations.recommend_each, recommendations.served)]
    table = hot(PREDICT_PATH, tables.predict_each, tables.served)
    if cache is None or not settings.cache_tables:
        found.append(table)
    elif cache.memory is not None:
        answered_by = functools.partial(answering_model, tables.served)
        found.append(replace(table, repeats=Repeats(cache, cache.memory, PREDICT, answered_by).take))
    return found


def _is_open(served: ServedTable | ServedRecommender) -> bool:
    """Whether the default version is there, and nothing else is to be asked."""
    status = last_heard(served.runner)
    return status is not None and status.ready and served.traffic.is_plain

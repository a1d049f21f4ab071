"""Which calls have a short road. Knows the calls and who may make them."""

from __future__ import annotations

import functools

from serving.app import Calls
from serving.express.road import MAX_WAITING, AnswerEach, ExpressCall
from serving.guard import Guard
from serving.routes.recommendations import RECOMMEND_PATH
from serving.routes.tabular import PREDICT_PATH
from serving.runners import last_heard
from serving.served import ServedRecommender, ServedTable


def hot_calls(calls: Calls, guard: Guard) -> list[ExpressCall]:
    """Small requests that cost less than their own way: rows of a table, recommendations for one user.

    Without tables while their answers are kept: the road does not look into the cache.
    """
    settings, tabular, recommendations = calls.settings, calls.tabular, calls.recommendations
    found: list[tuple[str, AnswerEach, ServedTable | ServedRecommender]] = [
        (RECOMMEND_PATH, recommendations.recommend_each, recommendations.served)
    ]
    if not (settings.cache_bytes and settings.cache_tables):
        found.append((PREDICT_PATH, tabular.predict_each, tabular.served))
    admits = functools.partial(guard.admits_at_once, access="predict")
    max_waiting = min(MAX_WAITING, settings.max_queue_rows)
    return [
        ExpressCall(path, answer_each, admits, functools.partial(_is_open, served), max_waiting)
        for path, answer_each, served in found
    ]


def _is_open(served: ServedTable | ServedRecommender) -> bool:
    """Whether the default version is there, and nothing else is to be asked."""
    status = last_heard(served.runner)
    return status is not None and status.ready and served.traffic.is_plain

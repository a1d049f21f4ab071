"""Answers of a recommender as clients are told. Knows answers and schemas, asks nobody."""

from __future__ import annotations

import math

import orjson

from models.errors import InputError, InvalidInput, NotKnown, PredictionFailed
from serving.kinds.recommender.schemas import (
    Cause,
    Recommendations,
    RecommendedItem,
    RecommendOptions,
    UserFailure,
    UserResult,
)
from serving.kinds.responses import item_problem, model_used
from serving.kinds.served_models import RecommenderAnswer
from serving.runners.interface import ModelRef


def told(answer: RecommenderAnswer, user_id: str, model: ModelRef, inference_time_ms: float) -> bytes:
    """An answer without causes as JSON: byte for byte what `Recommendations` makes of it, in a fifth of the time.

    Raises PredictionFailed for scores that are no numbers.
    """
    _check_scores(answer)
    return orjson.dumps(
        {
            "model": {"name": model.name, "version": model.version},
            "algorithm": answer.model,
            "user_id": user_id,
            "items": [
                {"item_id": item.id, "title": item.title or None, "score": _short(item.score), "causes": ()}
                for item in answer.items
            ],
            "reason": answer.reason,
            "inference_time_ms": inference_time_ms,
        }
    )


def as_recommendations(
    user_id: str, answer: RecommenderAnswer, model: ModelRef, inference_time_ms: float
) -> Recommendations:
    """An answer as clients are told. Raises PredictionFailed for scores that are no numbers."""
    return Recommendations(
        model=model_used(model),
        algorithm=answer.model,
        user_id=user_id,
        items=_items(answer),
        reason=answer.reason,
        inference_time_ms=inference_time_ms,
    )


def check(answer: RecommenderAnswer, user_id: str, options: RecommendOptions) -> None:
    """Raise what an answer that is none says: InvalidInput, NotKnown or PredictionFailed; and NotKnown as asked for."""
    if answer.error is not None:
        if answer.error_kind == "invalid":
            raise InvalidInput(answer.error, location=answer.location)
        if answer.error_kind == "unknown":
            raise NotKnown(answer.error)
        raise PredictionFailed(answer.error)
    if answer.reason == "unknown_user" and options.unknown_user == "error":
        raise NotKnown(f"no user '{user_id[:100]}' in the training data")


def of_user(index: int, user_id: str, answer: RecommenderAnswer, options: RecommendOptions) -> UserResult | UserFailure:
    """One of several users' answers, or what is wrong with it."""
    try:
        check(answer, user_id, options)
        return UserResult(
            index=index, user_id=user_id, algorithm=answer.model, items=_items(answer), reason=answer.reason
        )
    except (InputError, PredictionFailed) as error:
        return UserFailure(index=index, user_id=user_id, error=item_problem(error))


def _check_scores(answer: RecommenderAnswer) -> None:
    if not all(math.isfinite(item.score) for item in answer.items):
        raise PredictionFailed("the recommender answered NaN or infinity")


def _items(answer: RecommenderAnswer) -> list[RecommendedItem]:
    _check_scores(answer)
    return [
        RecommendedItem(
            item_id=item.id,
            title=item.title or None,
            score=_short(item.score),
            causes=[
                Cause(kind=each.kind, name=each.name, title=each.title or None, weight=_short(each.weight))
                for each in item.causes
            ],
        )
        for item in answer.items
    ]


def _short(score: float) -> float:
    # float32 as float64 shows digits that are not there.
    return float(f"{score:.7g}")

"""Responses made from the answers of a recommender."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import orjson

from models.errors import InputError, InvalidInput, NotKnown, PredictionFailed
from models.recommender.online.messages import Answer
from serving.kinds.recommender.schemas import (
    Recommendations,
    RecommendOptions,
    UserFailure,
    UserResult,
)
from serving.kinds.responses import item_problem
from serving.runners.interface import ModelRef


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The response to one request: the items of one user."""

    user_id: str
    answer: Answer
    model: ModelRef
    inference_time_ms: float

    def to_json(self) -> bytes:
        """Return the body of the response."""
        return orjson.dumps(self._content())

    def to_response(self) -> Recommendations:
        """Return the response as its pydantic type."""
        return Recommendations.model_validate(self._content())

    def _content(self) -> dict[str, Any]:  # Any: JSON
        return {
            "model": {"name": self.model.name, "version": self.model.version},
            "algorithm": self.answer.model,
            "user_id": self.user_id,
            "items": _items(self.answer),
            "reason": self.answer.reason,
            "inference_time_ms": self.inference_time_ms,
        }


def check(answer: Answer, user_id: str, options: RecommendOptions) -> None:
    """Raise the error of an answer: InvalidInput, NotKnown or PredictionFailed; NotKnown too for an unknown user where
    `options` ask for an error."""
    if answer.error is not None:
        if answer.error_kind == "invalid":
            raise InvalidInput(answer.error, location=answer.location)
        if answer.error_kind == "unknown":
            raise NotKnown(answer.error)
        raise PredictionFailed(answer.error)
    if answer.reason == "unknown_user" and options.unknown_user == "error":
        raise NotKnown(f"no user '{user_id[:100]}' in the training data")
    check_scores(answer)


def of_user(index: int, user_id: str, answer: Answer, options: RecommendOptions) -> UserResult | UserFailure:
    """Return the result of one of several users, or its failure."""
    try:
        check(answer, user_id, options)
        content = {"algorithm": answer.model, "items": _items(answer), "reason": answer.reason}
        return UserResult.model_validate({"index": index, "user_id": user_id, **content})
    except (InputError, PredictionFailed) as error:
        return UserFailure(index=index, user_id=user_id, error=item_problem(error))


def check_scores(answer: Answer) -> None:
    """Raise PredictionFailed for scores that are not finite."""
    if not all(math.isfinite(item.score) for item in answer.items):
        raise PredictionFailed("the recommender answered NaN or infinity")


def _items(answer: Answer) -> list[dict[str, Any]]:  # Any: JSON
    return [
        {
            "item_id": item.id,
            "title": item.title or None,
            "score": _short(item.score),
            "causes": [
                {"kind": each.kind, "name": each.name, "title": each.title or None, "weight": _short(each.weight)}
                for each in item.causes
            ],
        }
        for item in answer.items
    ]


def _short(score: float) -> float:
    # float32 as float64 would show digits that the model did not compute.
    return float(f"{score:.7g}")

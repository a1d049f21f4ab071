"""Recommends items to users. Knows queries and answers, no HTTP."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from models.errors import InputError, InvalidInput, NotKnown, PredictionFailed
from serving.calls.deadline import deadline, elapsed_ms
from serving.calls.images import item_problem, model_used
from serving.errors import FieldFault
from serving.runners import ModelRef
from serving.schemas.recommendations import (
    BulkRecommendations,
    BulkRecommendRequest,
    Recommendations,
    RecommendedItem,
    RecommendOptions,
    RecommendRequest,
    UserFailure,
    UserResult,
)
from serving.served import RecommenderAnswer, ServedRecommender
from serving.settings import Settings


class RecommenderCalls:
    """`recommend` and `recommend_bulk`."""

    def __init__(self, served: ServedRecommender, settings: Settings) -> None:
        self.served = served
        self.max_users = settings.max_bulk_users
        self._timeout_s = settings.request_timeout_s

    async def recommend(self, request: RecommendRequest) -> Recommendations:
        """Items for one user.

        Raises NotKnown for an unknown user where the request asks for that, InvalidInput, and what `QueryRunner.ask`
        raises.
        """
        started = time.perf_counter()
        answers, model = await self._ask([request.user_id], request)
        try:
            _check(answers[0], request.user_id, request)
        except InputError as error:
            error.location = ("body", "user_id")
            raise
        return Recommendations(
            model=model_used(model),
            user_id=request.user_id,
            items=_items(answers[0]),
            reason=answers[0].reason,
            inference_time_ms=elapsed_ms(started),
        )

    async def recommend_bulk(self, request: BulkRecommendRequest) -> BulkRecommendations:
        """Items, or an error, for each user in order. Raises what `QueryRunner.ask` raises, and FieldFault."""
        if not 1 <= len(request.user_ids) <= self.max_users:
            message = f"1 to {self.max_users} users may be asked for at a time, not {len(request.user_ids)}"
            raise FieldFault(message, location=("body", "user_ids"), value_type="array")
        started = time.perf_counter()
        answers, model = await self._ask(request.user_ids, request)
        return BulkRecommendations(
            model=model_used(model),
            results=[
                _result(index, user_id, answer, request)
                for index, (user_id, answer) in enumerate(zip(request.user_ids, answers, strict=True))
            ],
            inference_time_ms=elapsed_ms(started),
        )

    async def _ask(
        self, user_ids: Sequence[str], options: RecommendOptions
    ) -> tuple[list[RecommenderAnswer], ModelRef]:
        queries = [
            self.served.query(user_id=user_id, n=options.n, filter_seen=options.filter_seen) for user_id in user_ids
        ]
        answered = await self.served.runner.ask(queries, deadline=deadline(self._timeout_s))
        if len(answered.values) != len(queries):
            raise PredictionFailed(f"{len(answered.values)} answers for {len(queries)} queries")
        try:
            return [self.served.answer(value) for value in answered.values], answered.model
        except (TypeError, ValueError) as error:
            raise PredictionFailed("the recommender answered something that is not an answer") from error


def _check(answer: RecommenderAnswer, user_id: str, options: RecommendOptions) -> None:
    if answer.error is not None:
        if answer.error_kind == "invalid":
            raise InvalidInput(answer.error)
        if answer.error_kind == "unknown":
            raise NotKnown(answer.error)
        raise PredictionFailed(answer.error)
    if answer.reason == "unknown_user" and options.unknown_user == "error":
        raise NotKnown(f"no user '{user_id[:100]}' in the training data")


def _result(index: int, user_id: str, answer: RecommenderAnswer, options: RecommendOptions) -> UserResult | UserFailure:
    try:
        _check(answer, user_id, options)
        return UserResult(index=index, user_id=user_id, items=_items(answer), reason=answer.reason)
    except (InputError, PredictionFailed) as error:
        return UserFailure(index=index, user_id=user_id, error=item_problem(error))


def _items(answer: RecommenderAnswer) -> list[RecommendedItem]:
    if not all(math.isfinite(item.score) for item in answer.items):
        raise PredictionFailed("the recommender answered NaN or infinity")
    return [
        RecommendedItem(item_id=item.id, title=item.title or None, score=_short(item.score)) for item in answer.items
    ]


def _short(score: float) -> float:
    # float32 as float64 shows digits that are not there.
    return float(f"{score:.7g}")

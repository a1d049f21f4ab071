"""Recommends items to users. Knows queries and answers, no HTTP."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from models.errors import InputError, InvalidInput, PredictionFailed, VersionNotLoaded
from serving.context import deadline, elapsed_ms
from serving.errors.exceptions import FieldFault
from serving.kinds.recommender.responses import as_recommendations, check, of_user, told
from serving.kinds.recommender.schemas import (
    BulkRecommendations,
    BulkRecommendRequest,
    Choice,
    PerUser,
    Recommendations,
    RecommendOptions,
    RecommendRequest,
    UserFailure,
)
from serving.kinds.responses import model_used
from serving.kinds.served_models import RecommenderAnswer, ServedRecommender
from serving.observability.metrics import service_metrics
from serving.runners.interface import ModelRef, QueryAnswer
from serving.settings.settings import Settings
from serving.versions.shadow_comparison import Agreement, of_lists


class RecommenderHandler:
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
        answers, model = await self._ask([request.user_id], request, {})
        try:
            check(answers[0], request.user_id, request)
        except InputError as error:
            error.location = ("body", *(error.location or ("user_id",)))
            raise
        return as_recommendations(request.user_id, answers[0], model, elapsed_ms(started))

    async def recommend_each(self, bodies: Sequence[bytes | bytearray]) -> list[bytes | None]:
        """The answers to several requests as JSON, by one call to the runner.

        None for a request that `recommend` has to answer, since its body or its user is not acceptable. Raises what
        `QueryRunner.ask` raises.
        """
        requests = [_request(body) for body in bodies]
        read = [request for request in requests if request is not None]
        if not read:
            return [None] * len(bodies)
        started = time.perf_counter()
        queries = [self._query(request.user_id, request, _more(request)) for request in read]
        answered = await self.served.runner.ask(queries, deadline=deadline(self._timeout_s))
        inference_time_ms = elapsed_ms(started)
        self.served.traffic.answered(answered.model.version, time.perf_counter() - started, requests=len(read))
        each = iter(self._read(answered, len(queries)))
        return [
            None if request is None else _told(request, next(each), answered.model, inference_time_ms)
            for request in requests
        ]

    async def recommend_bulk(self, request: BulkRecommendRequest) -> BulkRecommendations:
        """Items, or an error, for each user in order. Raises what `QueryRunner.ask` raises, and FieldFault."""
        if not 1 <= len(request.user_ids) <= self.max_users:
            message = f"1 to {self.max_users} users may be asked for at a time, not {len(request.user_ids)}"
            raise FieldFault(message, location=("body", "user_ids"), value_type="array")
        _check_per_user(request)
        started = time.perf_counter()
        answers, model = await self._ask(request.user_ids, request, request.per_user)
        if all(answer.error is not None and answer.location == ("model",) for answer in answers):
            raise InvalidInput(answers[0].error or "", location=("body", "model"))
        return BulkRecommendations(
            model=model_used(model),
            results=[
                of_user(index, user_id, answer, request)
                for index, (user_id, answer) in enumerate(zip(request.user_ids, answers, strict=True))
            ],
            inference_time_ms=elapsed_ms(started),
        )

    @staticmethod
    def each_user(request: BulkRecommendRequest) -> list[BulkRecommendRequest]:
        """A request of its own for each user, in order. Raises FieldFault."""
        _check_per_user(request)
        return [
            request.model_copy(
                update={
                    "user_ids": [user_id],
                    "per_user": {user_id: request.per_user[user_id]} if user_id in request.per_user else {},
                }
            )
            for user_id in request.user_ids
        ]

    @staticmethod
    def failure(result: UserFailure) -> Exception:
        """The error of one user as an error of a request for all of them."""
        if result.error.status >= 500:
            return PredictionFailed(result.error.detail)
        return InvalidInput(result.error.detail, location=("query",))

    async def _ask(
        self, user_ids: Sequence[str], options: RecommendOptions, per_user: dict[str, PerUser]
    ) -> tuple[list[RecommenderAnswer], ModelRef]:
        shared = _more(options)
        queries = [
            self._query(user_id, options, shared if user_id not in per_user else shared | _own(per_user[user_id]))
            for user_id in user_ids
        ]
        # One version answers a whole request: several users are together who asks.
        answered = await ask_chosen(
            self.served, queries, user_id=user_ids[0] if len(user_ids) == 1 else "", timeout_s=self._timeout_s
        )
        answers = self._read(answered, len(queries))
        for answer in answers:
            _count(answer)
        self.served.traffic.shadow(answered.model.version, lambda version: self._agreement(queries, answers, version))
        return answers, answered.model

    def _query(self, user_id: str, options: RecommendOptions, more: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
        query: dict[str, Any] = self.served.query(user_id=user_id, n=options.n, filter_seen=options.filter_seen, **more)
        return query

    def _read(self, answered: QueryAnswer, asked: int) -> list[RecommenderAnswer]:
        if len(answered.values) != asked:
            raise PredictionFailed(f"{len(answered.values)} answers for {asked} queries")
        try:
            return [self.served.answer(value) for value in answered.values]
        except (TypeError, ValueError, KeyError) as error:
            raise PredictionFailed("the recommender answered something that is not an answer") from error

    async def _agreement(self, queries: list[Any], answers: Sequence[RecommenderAnswer], version: str) -> Agreement:
        """How much of what was answered to `queries` another version would have answered too."""
        until = time.monotonic() + self._timeout_s
        answered = await self.served.runner.ask(queries, deadline=until, version=version, is_low_priority=True)
        return of_lists(_ids(answers), _ids(self._read(answered, len(queries))))


async def ask_chosen(served: ServedRecommender, queries: list[Any], *, user_id: str, timeout_s: float) -> QueryAnswer:
    """What the version chosen for `user_id` answers, or for the caller without one. Raises as `QueryRunner.ask`."""
    choice = served.traffic.choose(user_id)
    asked = served.runner.ask(queries, deadline=deadline(timeout_s), version=choice.version)
    try:
        return await served.traffic.timed(choice, asked)
    except VersionNotLoaded:
        choice = served.traffic.instead(choice)
        return await served.traffic.timed(choice, served.runner.ask(queries, deadline=deadline(timeout_s)))


def _check_per_user(request: BulkRecommendRequest) -> None:
    asked_for = set(request.user_ids)
    for user_id in request.per_user:
        if user_id not in asked_for:
            message = f"per_user tells of '{user_id[:100]}', who is not in user_ids"
            raise FieldFault(message, location=("body", "per_user", user_id), value_type="object")


def _request(body: bytes | bytearray) -> RecommendRequest | None:
    try:
        return RecommendRequest.model_validate_json(body)
    except ValidationError:
        return None


def _told(
    request: RecommendRequest, answer: RecommenderAnswer, model: ModelRef, inference_time_ms: float
) -> bytes | None:
    try:
        check(answer, request.user_id, request)
        if any(item.causes for item in answer.items):
            explained = as_recommendations(request.user_id, answer, model, inference_time_ms)
            body = explained.__pydantic_serializer__.to_json(explained)
        else:
            body = told(answer, request.user_id, model, inference_time_ms)
    except (InputError, PredictionFailed):
        return None
    _count(answer)
    return body


def _count(answer: RecommenderAnswer) -> None:
    if answer.error is None:
        service_metrics().count_recommendation(answer.model, answer.reason, answer.features)


def _ids(answers: Sequence[RecommenderAnswer]) -> list[list[str]]:
    return [[item.id for item in answer.items] for answer in answers]


def _more(options: RecommendOptions) -> dict[str, Any]:  # Any: JSON
    """What the request sets beyond the number of items: most set nothing."""
    if options.model_fields_set <= _PLAIN:
        return {}
    more: dict[str, Any] = {}
    if options.model is not None:
        more["model"] = options.model
    if options.history:
        more["history"] = options.history
    if options.user_features:
        more["user_features"] = options.user_features
    if options.explain:
        more["explain"] = True
    rules: dict[str, Any] = {
        name: {"ids": choice.ids, "categories": choice.categories}
        for name, choice in (("allow", options.allow), ("deny", options.deny))
        if isinstance(choice, Choice)
    }
    for name in ("categories", "diversity", "min_score", "max_per_category", "category_caps"):
        value = getattr(options, name)
        if value not in (None, 0.0, [], {}) or (name == "min_score" and value is not None):
            rules[name] = value
    if rules:
        more["rules"] = rules
    return more


_PLAIN = {"user_id", "user_ids", "per_user", "n", "filter_seen", "unknown_user"}


def _own(user: PerUser) -> dict[str, Any]:  # Any: JSON
    own: dict[str, Any] = {"history": user.history, "user_features": user.user_features}
    return {name: value for name, value in own.items() if value}

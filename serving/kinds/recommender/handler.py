"""The handler of a recommender: users in, ranked items out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from pydantic import ValidationError

from models.card import Card
from models.errors import InputError, InvalidInput, PredictionFailed
from models.recommender.online.messages import Answer
from serving.errors.exceptions import FieldFault
from serving.http.operation import Operation
from serving.http.requests.json_bounds import JsonBounds
from serving.jobs.kind import JobKind
from serving.kinds.interface import Handler, Json, Stream, model_operation
from serving.kinds.recommender import (
    feedback_routes,
    item_routes,
    jobs,
    open_inference,
    routes,
    streams,
    user_routes,
)
from serving.kinds.recommender.feedback import FeedbackHandler
from serving.kinds.recommender.items import ItemHandler
from serving.kinds.recommender.metrics import count_recommendation
from serving.kinds.recommender.requests import each_user, extras_of, own_extras, query_of
from serving.kinds.recommender.responses import Recommendation, check, of_user
from serving.kinds.recommender.schemas import (
    MAX_LIST,
    BulkRecommendations,
    BulkRecommendRequest,
    PerUser,
    Recommendations,
    RecommendOptions,
    RecommendRequest,
    UserFailure,
)
from serving.kinds.recommender.settings import RecommenderSettings
from serving.kinds.recommender.users import UserHandler
from serving.kinds.recommender.version import RecommenderVersion
from serving.kinds.responses import model_used
from serving.kinds.served_model import Result, ServedModel
from serving.open_inference.codec import DecodedRequest
from serving.open_inference.outputs import Inferred
from serving.open_inference.schemas import TensorMetadata
from serving.runners.interface import Payload
from serving.versions.shadow_comparison import Comparison, compare_lists

# Each id of a history runs a function of Python, so the fields of `per_user` are fewer than elsewhere.
_BOUNDS: Final = JsonBounds(names=100)


class RecommenderHandler(Handler[RecommenderVersion]):
    """`recommend`, `recommend_bulk`, and the operations on users, items and feedback."""

    tags: ClassVar[tuple[tuple[str, str], ...]] = (
        ("recommendations", "Recommendations of items for users."),
        ("users", "Users: their history, similar users, segments."),
        ("items", "Items: search by title, metadata, similar items, most popular items."),
        ("feedback", "Feedback events of users, which influence recommendations immediately."),
    )
    has_fast_path: ClassVar[bool] = True

    def __init__(
        self,
        model: ServedModel[RecommenderVersion],
        settings: RecommenderSettings,
        *,
        feedback: FeedbackHandler | None = None,
    ) -> None:
        super().__init__(model)
        self.max_users = settings.max_bulk_users
        self.max_age_s = settings.recommendations_max_age_s
        self.users = UserHandler(model)
        self.items = ItemHandler(model)
        self.feedback = feedback

    def operations(self) -> list[Operation]:
        feedback = feedback_routes.operations(self.feedback) if self.feedback is not None else []
        resources = [*user_routes.operations(self), *item_routes.operations(self.items), *feedback]
        return [*routes.operations(self), *resources]

    def model_operations(self) -> list[Operation]:
        """Return `predict`, and the operations on users, items and feedback of this model."""
        name = self.model.path_name
        others = [
            model_operation(each, name, name=each.id, path=each.path.removeprefix("/v1/"))
            for each in self.operations()[1:]
        ]
        return [*super().model_operations(), *others]

    def streams(self) -> list[Stream]:
        return [streams.recommendation_stream(self)]

    def job_kind(self) -> JobKind:
        return jobs.job_kind(self)

    @property
    def native_methods(self) -> Mapping[str, Callable[..., Awaitable[Any]]]:
        async def recommend(user_id: str, n: int = 10, filter_seen: bool = True) -> Recommendations:
            request = RecommendRequest(user_id=user_id, n=n, filter_seen=filter_seen)
            return (await self.recommend(request)).to_response()

        async def recommend_bulk(user_ids: list[str], n: int = 10, filter_seen: bool = True) -> BulkRecommendations:
            return await self.recommend_bulk(BulkRecommendRequest(user_ids=user_ids, n=n, filter_seen=filter_seen))

        return {"recommend": recommend, "recommend_bulk": recommend_bulk}

    @property
    def json_bounds(self) -> JsonBounds:
        return _BOUNDS.allowing(values=self.max_users * MAX_LIST, fields=100 * self.max_users, names=self.max_users)

    async def answer_json(self, bodies: Sequence[bytes | bytearray]) -> list[bytes | Exception]:
        outcomes = await self.recommend_each(bodies)
        return [outcome if isinstance(outcome, Exception) else outcome.to_json() for outcome in outcomes]

    async def recommend(self, request: RecommendRequest) -> Recommendation:
        """Recommend items to one user.

        Raises NotKnown for an unknown user where the request asks for an error, InvalidInput, and as
        `ServedModel.call`.
        """
        (outcome,) = await self.recommend_each([request])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def recommend_each(
        self, requests: Sequence[RecommendRequest | bytes | bytearray]
    ) -> list[Recommendation | Exception]:
        """Recommend items to the user of each request, with one call to the runner. A request with a fault fails alone.

        Raises as `ServedModel.call`.
        """
        read = [_read(request) for request in requests]
        valid = [request for request in read if isinstance(request, RecommendRequest)]
        if not valid:
            return [request for request in read if isinstance(request, Exception)]
        queries = [query_of(request.user_id, request, extras_of(request)) for request in valid]
        user_id = valid[0].user_id if len(valid) == 1 else ""
        result, answers = await self._ask(queries, user_id=user_id, requests=len(valid))
        each = iter(answers)
        return [
            request if isinstance(request, Exception) else _outcome(request, next(each), result) for request in read
        ]

    async def recommend_bulk(self, request: BulkRecommendRequest) -> BulkRecommendations:
        """Recommend items to several users: one result or one error per user, in order.

        Raises FieldFault, and as `ServedModel.call`.
        """
        if not 1 <= len(request.user_ids) <= self.max_users:
            message = f"1 to {self.max_users} users may be requested at a time, not {len(request.user_ids)}"
            raise FieldFault(message, location=("body", "user_ids"), value_type="array")
        each_user(request)  # Raises FieldFault for users that are not among `user_ids`.
        # One version answers a whole request; several users share the caller's place in the traffic split.
        user_id = request.user_ids[0] if len(request.user_ids) == 1 else ""
        result, answers = await self._ask(_queries(request.user_ids, request, request.per_user), user_id=user_id)
        if all(answer.error is not None and answer.location == ("model",) for answer in answers):
            raise InvalidInput(answers[0].error or "", location=("body", "model"))
        for answer in answers:
            _count(answer)
        return BulkRecommendations(
            model=model_used(result.model),
            results=[
                of_user(index, user, answer, request)
                for index, (user, answer) in enumerate(zip(request.user_ids, answers, strict=True))
            ],
            inference_time_ms=result.elapsed_ms,
        )

    @staticmethod
    def failure(result: UserFailure) -> Exception:
        """Return the error of one user as an error of a request for all of them."""
        if result.error.status >= 500:
            return PredictionFailed(result.error.detail)
        return InvalidInput(result.error.detail, location=("query",))

    def tensors(self, card: Card) -> tuple[list[TensorMetadata], list[TensorMetadata]]:
        return open_inference.tensors()

    @property
    def inference_description(self) -> str:
        return open_inference.DESCRIPTION

    def inference_example(self) -> tuple[Json, Json]:
        return open_inference.example(self.model.card)

    async def infer(self, request: DecodedRequest) -> Inferred:
        return await open_inference.infer(self, request)

    def open(self) -> None:
        """Open the log of feedback in the background, so that the first client does not wait for it."""
        if self.feedback is not None:
            self.feedback.open()

    def close(self) -> None:
        """Stop the thread that writes feedback."""
        if self.feedback is not None:
            self.feedback.close()

    async def _ask(
        self, queries: list[Json], *, user_id: str, requests: int = 1
    ) -> tuple[Result[RecommenderVersion], list[Answer]]:
        async def encode(version: RecommenderVersion) -> Payload:
            return queries

        result = await self.model.call(encode, user_id=user_id, requests=requests, compare=_compare)
        if result is None or len(result.values) != len(queries):
            raise PredictionFailed(f"{len(result.values) if result else 0} answers for {len(queries)} queries")
        return result, _answers(result)


def _read(request: RecommendRequest | bytes | bytearray) -> RecommendRequest | Exception:
    if isinstance(request, RecommendRequest):
        return request
    try:
        return RecommendRequest.model_validate_json(request)
    except ValidationError as error:
        return error


def _outcome(
    request: RecommendRequest, answer: Answer, result: Result[RecommenderVersion]
) -> Recommendation | Exception:
    try:
        check(answer, request.user_id, request)
    except InputError as error:
        error.location = ("body", *(error.location or ("user_id",)))
        return error
    except PredictionFailed as error:
        return error
    _count(answer)
    return Recommendation(request.user_id, answer, result.model, result.elapsed_ms)


def _queries(user_ids: Sequence[str], options: RecommendOptions, per_user: Mapping[str, PerUser]) -> list[Json]:
    shared = extras_of(options)
    return [
        query_of(user_id, options, shared if user_id not in per_user else shared | own_extras(per_user[user_id]))
        for user_id in user_ids
    ]


def _answers(result: Result[RecommenderVersion]) -> list[Answer]:
    try:
        return [Answer.from_json(value) for value in result.values]
    except (TypeError, ValueError, KeyError) as error:
        raise PredictionFailed("the recommender returned something that is not an answer") from error


def _count(answer: Answer) -> None:
    if answer.error is None:
        count_recommendation(answer.model, answer.reason, answer.features)


def _compare(first: Result[RecommenderVersion], second: Result[RecommenderVersion]) -> Comparison:
    """Compare the items of two versions for the same queries."""
    lists = [[[item.id for item in answer.items] for answer in _answers(result)] for result in (first, second)]
    return compare_lists(lists[0], lists[1])

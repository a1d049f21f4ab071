"""The operations on users: recommendations that can be cached, similar users, groups, an overview."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from models.card import Card
from models.errors import InputError
from models.limits import MAX_ID_CHARACTERS
from serving.errors.exceptions import BadQuery
from serving.errors.problem_types import BAD_QUERY, CALL_FAILURES, NOT_KNOWN, VALIDATION
from serving.http.operation import Content, JsonSchema, Operation
from serving.http.requests.json_body import JSON, resource
from serving.http.requests.query import Flag, Query, parameters_of, path_parameter, read_query
from serving.kinds.recommender.examples import user
from serving.kinds.recommender.schemas import (
    MAX_ITEMS,
    BulkRecommendRequest,
    RecommendRequest,
    UnknownUser,
    UserResult,
    known_models,
)
from serving.kinds.recommender.user_schemas import (
    SimilarUsers,
    UserGroups,
    UserOverview,
    UserRecommendations,
    UsersRecommendations,
)
from serving.kinds.recommender.users import UserHandler
from serving.schemas.fields import EXAMPLE_VERSION

if TYPE_CHECKING:
    from serving.kinds.recommender.handler import RecommenderHandler

_PROBLEMS = (VALIDATION, NOT_KNOWN, *CALL_FAILURES)
_USER = "Id of the user, as it was in the training data or in feedback."
_MODEL = {"name": "recommender", "version": EXAMPLE_VERSION}


class _Recommend(Query):
    model: str | None = Field(None, min_length=1, max_length=64, description="Which algorithm answers.")
    n: int = Field(10, ge=1, le=MAX_ITEMS, description="How many items at most.")
    filter_seen: Flag = Field(True, description="Leave out the items that the user has interacted with already.")


class _RecommendOne(_Recommend):
    unknown_user: UnknownUser = Field(
        "popular", description="What an unknown user gets: `popular` items, or an `error`."
    )


class _RecommendSeveral(_Recommend):
    user_ids: tuple[str, ...] = Field(
        (), description="Ids of the users, separated by commas. A comma in an id is sent as `%2C`."
    )


class _Similar(Query):
    n: int = Field(10, ge=1, le=MAX_ITEMS, description="How many at most.")
    model: str | None = Field(
        None, min_length=1, max_length=64, description="Which algorithm compares; the first that can when not given."
    )


class _Some(Query):
    n: int = Field(10, ge=1, le=MAX_ITEMS, description="How many of everything that is a list, at most.")


def operations(handler: RecommenderHandler) -> list[Operation]:
    """Return the operations below /v1/users, the fixed paths before those with an id."""
    users = handler.users
    return [
        _recommend_several(handler),
        _recommend_one(handler),
        _similar(users),
        _groups(users),
        _overview(users),
    ]


def _recommend_one(handler: RecommenderHandler) -> Operation:
    async def recommend(request: Request) -> Response:
        query = read_query(request, _RecommendOne)
        try:
            response = await handler.recommend(
                RecommendRequest(user_id=_user_id(request), **query.model_dump(exclude_defaults=True))
            )
        except InputError as error:
            raise _in_query(error, "path") from error
        return _cached(request, UserRecommendations.of(response.to_response()), handler.max_age_s)

    return Operation(
        id="get_user_recommendations",
        method="GET",
        takes_version=True,
        path="/v1/users/{user_id}/recommendations",
        tag="users",
        summary="Recommendations of a user",
        description="What `recommend` answers, in a form that caches can keep and clients can ask for again by `ETag`.",
        handler=recommend,
        parameters=lambda: (
            _path(handler.model.card),
            *parameters_of(_RecommendOne, models=known_models(handler.model.card), n=5),
        ),
        answer=Content(JSON, lambda: UserRecommendations, lambda: {"user": _recommended(handler.model.card)}),
        answer_description="Items, best first.",
        problems=_PROBLEMS,
        is_conditional=True,
        is_private=True,
    )


def _recommend_several(handler: RecommenderHandler) -> Operation:
    async def recommend(request: Request) -> Response:
        query = read_query(request, _RecommendSeveral)
        ids = query.user_ids
        if not 1 <= len(ids) <= handler.max_users:
            message = f"1 to {handler.max_users} users may be requested at a time, not {len(ids)}"
            raise BadQuery(message, location=("query", "user_ids"))
        if long := next((each for each in ids if len(each) > MAX_ID_CHARACTERS), None):
            message = f"an id has at most {MAX_ID_CHARACTERS} characters, not {len(long)}"
            raise BadQuery(message, location=("query", "user_ids"))
        more = query.model_dump(exclude_defaults=True, exclude={"user_ids"})
        try:
            response = await handler.recommend_bulk(BulkRecommendRequest(user_ids=list(ids), **more))
        except InputError as error:
            raise _in_query(error, "query") from error
        results: list[UserResult] = []
        for result in response.results:
            if not isinstance(result, UserResult):
                # The options are the same for all users: a fault of one is a fault of the request, or of the service.
                raise handler.failure(result)
            results.append(result)
        return _cached(request, UsersRecommendations(model=response.model, results=results), handler.max_age_s)

    return Operation(
        id="get_users_recommendations",
        method="GET",
        takes_version=True,
        path="/v1/users/recommendations",
        tag="users",
        summary="Recommendations of several users",
        description=f"Up to {handler.max_users} users, in the order of `user_ids`.",
        handler=recommend,
        parameters=lambda: _several_parameters(handler),
        answer=Content(JSON, lambda: UsersRecommendations, lambda: {"users": _several(handler.model.card)}),
        answer_description="Items for each user.",
        problems=(BAD_QUERY, *_PROBLEMS),
        is_conditional=True,
        is_private=True,
    )


def _similar(handler: UserHandler) -> Operation:
    async def similar(request: Request) -> Response:
        query = read_query(request, _Similar)
        return resource(request, await handler.similar(_user_id(request), query.n, query.model))

    def example() -> dict[str, Any]:
        similar_users = [{"user_id": "523", "score": 0.93}, {"user_id": "98", "score": 0.858}]
        return {"model": _MODEL, "algorithm": "two-level", "user_id": user(handler.model.card), "users": similar_users}

    return Operation(
        id="get_similar_users",
        method="GET",
        takes_version=True,
        path="/v1/users/{user_id}/similar",
        tag="users",
        summary="Similar users",
        handler=similar,
        parameters=lambda: (
            _path(handler.model.card),
            *parameters_of(_Similar, models=known_models(handler.model.card), n=5),
        ),
        answer=Content(JSON, lambda: SimilarUsers, lambda: {"users": example()}),
        answer_description="Users, most similar first.",
        problems=_PROBLEMS,
        is_conditional=True,
        is_private=True,
    )


def _groups(handler: UserHandler) -> Operation:
    async def groups(request: Request) -> Response:
        query = read_query(request, _Some)
        return resource(request, await handler.groups(_user_id(request), query.n))

    return Operation(
        id="get_user_groups",
        method="GET",
        takes_version=True,
        path="/v1/users/{user_id}/groups",
        tag="users",
        summary="Groups for a user",
        description="Groups that similar users are in more often than others, including those of the user.",
        handler=groups,
        parameters=lambda: (_path(handler.model.card), *parameters_of(_Some, n=5)),
        answer=Content(
            JSON,
            lambda: UserGroups,
            lambda: {"groups": {"model": _MODEL, "user_id": user(handler.model.card), "groups": [_GROUP]}},
        ),
        answer_description="Groups, best fit first.",
        problems=_PROBLEMS,
        is_conditional=True,
        is_private=True,
    )


def _overview(handler: UserHandler) -> Operation:
    async def overview(request: Request) -> Response:
        query = read_query(request, _Some)
        return resource(request, await handler.overview(_user_id(request), query.n))

    return Operation(
        id="get_user",
        method="GET",
        takes_version=True,
        path="/v1/users/{user_id}",
        tag="users",
        summary="Profile of a user",
        handler=overview,
        parameters=lambda: (_path(handler.model.card), *parameters_of(_Some, n=5)),
        answer=Content(JSON, lambda: UserOverview, lambda: {"user": _overviewed(handler.model.card)}),
        answer_description="Profile, top items and categories, similar users, groups.",
        problems=_PROBLEMS,
        is_conditional=True,
        is_private=True,
    )


def _user_id(request: Request) -> str:
    return str(request.path_params["user_id"])


def _path(card: Card) -> JsonSchema:
    return path_parameter("user_id", _USER, user(card))


def _several_parameters(handler: RecommenderHandler) -> tuple[JsonSchema, ...]:
    query, *others = reversed(parameters_of(_RecommendSeveral, models=known_models(handler.model.card), n=5))
    ids = {"type": "string", "minLength": 1, "maxLength": MAX_ID_CHARACTERS}
    listed = {"type": "array", "items": ids, "minItems": 1, "maxItems": handler.max_users}
    query |= {
        "required": True, "schema": listed, "style": "form", "explode": False,
        "example": [user(handler.model.card), "nobody"],
    }  # fmt: skip
    return (query, *reversed(others))


def _in_query(error: InputError, owner: str) -> InputError:
    """The same error, where it is in a request that has no body."""
    if error.location[:1] == ("body",):
        name = error.location[1] if len(error.location) > 1 else ""
        error.location = (owner if name == "user_id" else "query", *error.location[1:])
    return error


def _cached(request: Request, content: UserRecommendations | UsersRecommendations, max_age_s: int) -> Response:
    response = resource(request, content)
    # What a user is shown is the user's own: no shared cache.
    response.headers["Cache-Control"] = f"private, max-age={max_age_s}" if max_age_s else "private, no-cache"
    return response


_ITEMS = [{"item_id": "50", "title": "Star Wars (1977)", "score": 2.314, "causes": []}]
_GROUP = {"group": "engineer", "kind": "occupation", "members": 67, "is_member": False, "score": 1.4}


def _recommended(card: Card) -> dict[str, Any]:
    return {"model": _MODEL, "algorithm": card.algorithm, "user_id": user(card), "items": _ITEMS, "reason": None}


def _several(card: Card) -> dict[str, Any]:
    result = {"status": "ok", "index": 0, "user_id": user(card), "algorithm": card.algorithm}
    return {"model": _MODEL, "results": [{**result, "items": _ITEMS, "reason": None}]}


def _overviewed(card: Card) -> dict[str, Any]:
    return {
        "model": _MODEL,
        "user_id": user(card),
        "in_training": True,
        "features": {"age": 49, "gender": "M", "occupation": "writer"},
        "interactions": 39,
        "recent_interactions": 0,
        "top_items": [{"item_id": "67", "title": "Ace Ventura (1994)", "rating": 5.0, "time": 881252017}],
        "top_categories": [{"category": "Comedy", "items": 26, "share": 0.667}],
        "similar_users": [{"user_id": "523", "score": 0.93}],
        "groups": [_GROUP],
    }

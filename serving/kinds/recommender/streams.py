"""`stream_recommendations`: several users, each result sent as it is finished."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field, create_model
from starlette.requests import Request

from models.limits import MAX_ID_CHARACTERS
from serving.http.operation import Content, JsonSchema
from serving.http.requests.json_body import JSON, read_json
from serving.http.requests.query import parameters_of, read_query
from serving.kinds.interface import Stream, StreamCalls, StreamQuery
from serving.kinds.recommender.examples import user
from serving.kinds.recommender.requests import each_user
from serving.kinds.recommender.schemas import BulkRecommendRequest, UserFailure, bulk_request, known_models
from serving.kinds.recommender.user_routes import RecommendQuery
from serving.kinds.responses import item_problem

if TYPE_CHECKING:
    from serving.kinds.recommender.handler import RecommenderHandler


def recommendation_stream(handler: RecommenderHandler) -> Stream:
    """Return the streamed form of `recommend_bulk`."""
    bulk = bulk_request(handler.max_users)
    query_type = _query_type(handler.max_users)

    async def one(index: int, request: BulkRecommendRequest) -> BaseModel:
        try:
            (result,) = (await handler.recommend_bulk(request)).results
        except Exception as error:
            return UserFailure(index=index, user_id=request.user_ids[0], error=item_problem(error))
        return result.model_copy(update={"index": index})

    def calls(users: BulkRecommendRequest) -> StreamCalls:
        return [partial(one, index, each) for index, each in enumerate(each_user(users))]

    def read_get(request: Request) -> StreamCalls:
        query = read_query(request, query_type)
        values = query.model_dump(exclude_defaults=True)
        return calls(bulk.model_validate({**values, "user_ids": list(values["user_ids"])}))

    async def read(request: Request) -> StreamCalls:
        users = bulk.model_validate_json(await read_json(request, handler.json_bounds))
        return calls(users)

    def parameters() -> tuple[JsonSchema, ...]:
        card = handler.model.card
        shown = [user(card), "nobody"]
        return parameters_of(query_type, models=known_models(card), user_ids=shown, n=5)

    return Stream(
        id="stream_recommendations",
        path="/v1/recommendations/stream",
        tag="recommendations",
        summary="Recommend items to several users, each answered as it is finished",
        description="As `recommend_bulk`, as Server-Sent Events.",
        body=Content(JSON, lambda: bulk, lambda: {"users": {"user_ids": [user(handler.model.card), "nobody"], "n": 5}}),
        read=read,
        example={"status": "ok", "index": 0, "user_id": "196", "items": []},
        answer_description="One event for each user, then `done`.",
        query=StreamQuery("get_recommendation_stream", parameters, read_get),
    )


def _query_type(max_users: int) -> type[RecommendQuery]:
    user_id = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARACTERS)]
    users = Annotated[tuple[user_id, ...], Field(min_length=1, max_length=max_users, description="Ids of the users.")]
    return create_model("StreamQuery", __base__=RecommendQuery, user_ids=(users, ...))

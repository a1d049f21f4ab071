"""`stream_recommendations`: several users, each result sent as it is finished."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from pydantic import BaseModel
from starlette.requests import Request

from serving.http.operation import Content
from serving.http.requests.json_body import JSON, read_json
from serving.kinds.interface import Stream
from serving.kinds.recommender.examples import user
from serving.kinds.recommender.requests import each_user
from serving.kinds.recommender.schemas import BulkRecommendRequest, UserFailure, bulk_request
from serving.kinds.responses import item_problem

if TYPE_CHECKING:
    from serving.kinds.recommender.handler import RecommenderHandler


def recommendation_stream(handler: RecommenderHandler) -> Stream:
    """Return the streamed form of `recommend_bulk`."""
    bulk = bulk_request(handler.max_users)

    async def one(index: int, request: BulkRecommendRequest) -> BaseModel:
        try:
            (result,) = (await handler.recommend_bulk(request)).results
        except Exception as error:
            return UserFailure(index=index, user_id=request.user_ids[0], error=item_problem(error))
        return result.model_copy(update={"index": index})

    async def read(request: Request) -> Sequence[Callable[[], Awaitable[BaseModel]]]:
        users = bulk.model_validate_json(await read_json(request, handler.json_bounds))
        return [partial(one, index, each) for index, each in enumerate(each_user(users))]

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
    )

"""Batches whose answers come one by one, as Server-Sent Events, in the order in which they are finished."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from serving.http.operation import CALL_PROBLEMS, Content, JsonSchema, Operation
from serving.http.requests.json_body import JSON, read_json
from serving.http.requests.multipart import MULTIPART, fields, files, read_parts
from serving.http.server_sent_events import MEDIA_TYPE, EventStream, event, in_completion_order
from serving.kinds.image.handler import ImageHandler
from serving.kinds.image.routes import OPTIONS, batch_form
from serving.kinds.image.schemas import ClassifyOptions, ImageFailure, ImageResult
from serving.kinds.recommender.handler import RecommenderHandler
from serving.kinds.recommender.schemas import BulkRecommendRequest, UserFailure, UserResult, bulk_request
from serving.kinds.responses import item_problem
from serving.routes.examples import user

# No type: to some readers of the document this is the whole stream, a text, and to others one event, an object.
_EVENTS: JsonSchema = {
    "description": "Events `item`, each with the place in the request as its id and one result or one error as its "
    "data, as in the batch call; then one event `done` with how many there were and how many of them failed.",
}


def operations(images: ImageHandler, recommendations: RecommenderHandler) -> list[Operation]:
    """`stream_images` and `stream_recommendations`."""
    return [_stream_images(images), _stream_recommendations(recommendations)]


def _stream_images(calls: ImageHandler) -> Operation:
    async def one(index: int, image: bytes, options: ClassifyOptions) -> ImageResult | ImageFailure:
        try:
            found = await calls.classify(image, options)
        except Exception as error:
            return ImageFailure(index=index, error=item_problem(error))
        return ImageResult(index=index, predictions=found.predictions)

    async def stream(request: Request) -> Response:
        parts = await read_parts(request, max_parts=2 * calls.max_images + OPTIONS + 1)
        images = files(parts, "images", at_most=calls.max_images)
        options = ClassifyOptions.model_validate(fields(parts, beside="images"))
        calls.served.traffic.choose()  # a version that does not answer is a fault of the whole request
        return EventStream(in_completion_order([one(index, image, options) for index, image in enumerate(images)]))

    form, encoding = batch_form(calls.max_images)
    return Operation(
        id="stream_images",
        method="POST",
        takes_version=True,
        path="/v1/images/classify-stream",
        tag="images",
        summary="Classify several images, each answered as it is finished",
        description="As `classify_images`, as Server-Sent Events. An image that cannot be read fails alone.",
        handler=stream,
        body=Content(MULTIPART, lambda: form, encoding=encoding),
        answer=_answer({"status": "ok", "index": 0, "predictions": []}),
        answer_description="One event for each image, then `done`.",
        problems=CALL_PROBLEMS,
    )


def _stream_recommendations(calls: RecommenderHandler) -> Operation:
    bulk = bulk_request(calls.max_users)

    def example() -> dict[str, Any]:
        return {"users": {"user_ids": [user(calls.served.card()), "nobody"], "n": 5}}

    async def one(index: int, request: BulkRecommendRequest) -> UserResult | UserFailure:
        user_id = request.user_ids[0]
        try:
            (found,) = (await calls.recommend_bulk(request)).results
        except Exception as error:
            return UserFailure(index=index, user_id=user_id, error=item_problem(error))
        return found.model_copy(update={"index": index})

    async def stream(request: Request) -> Response:
        asked = bulk.model_validate_json(await read_json(request))
        calls.served.traffic.choose()
        each = calls.each_user(asked)
        return EventStream(in_completion_order([one(index, one_user) for index, one_user in enumerate(each)]))

    return Operation(
        id="stream_recommendations",
        method="POST",
        takes_version=True,
        path="/v1/recommendations/stream",
        tag="recommendations",
        summary="Recommend items to several users, each answered as it is finished",
        description="As `recommend_bulk`, as Server-Sent Events.",
        handler=stream,
        body=Content(
            JSON, lambda: bulk, lambda: {"users": {"user_ids": [user(calls.served.card()), "nobody"], "n": 5}}
        ),
        answer=_answer({"status": "ok", "index": 0, "user_id": "196", "items": []}),
        answer_description="One event for each user, then `done`.",
        problems=CALL_PROBLEMS,
    )


def _answer(item: dict[str, Any]) -> Content:
    shown = event("item", "0", orjson.dumps(item)) + event("done", "done", b'{"items":1,"failed":0}')
    return Content(MEDIA_TYPE, lambda: _EVENTS, lambda: {"events": shown.decode()})

"""`stream_images`: several images, each result sent as it is finished."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from pydantic import BaseModel
from starlette.requests import Request

from serving.http.operation import Content
from serving.http.requests.multipart import MULTIPART, fields, files, read_parts
from serving.kinds.image.routes import OPTIONS, batch_form
from serving.kinds.image.schemas import ClassifyOptions, ImageFailure, ImageResult
from serving.kinds.interface import Stream
from serving.kinds.responses import item_problem

if TYPE_CHECKING:
    from serving.kinds.image.handler import ImageHandler


def classify_stream(handler: ImageHandler) -> Stream:
    """Return the streamed form of `classify_images`."""

    async def one(index: int, image: bytes, options: ClassifyOptions) -> BaseModel:
        try:
            response = await handler.classify(image, options)
        except Exception as error:
            return ImageFailure(index=index, error=item_problem(error))
        return ImageResult(index=index, predictions=response.predictions)

    async def read(request: Request) -> Sequence[Callable[[], Awaitable[BaseModel]]]:
        parts = await read_parts(request, max_parts=2 * handler.max_images + OPTIONS + 1)
        images = files(parts, "images", at_most=handler.max_images)
        options = ClassifyOptions.model_validate(fields(parts, beside="images", texts=("model",)))
        handler.named(options.model)  # Raises FieldFault: a fault of the whole request.
        return [partial(one, index, image, options) for index, image in enumerate(images)]

    form, encoding = batch_form(handler.max_images)
    return Stream(
        id="stream_images",
        path="/v1/images/classify-stream",
        tag="images",
        summary="Classify several images, each answered as it is finished",
        description="As `classify_images`, as Server-Sent Events. An image that cannot be read fails alone.",
        body=Content(MULTIPART, lambda: form, encoding=encoding),
        read=read,
        example={"status": "ok", "index": 0, "predictions": []},
        answer_description="One event for each image, then `done`.",
    )

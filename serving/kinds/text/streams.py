"""`stream_texts`: several texts, each prediction sent as it is finished."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from pydantic import BaseModel
from starlette.requests import Request

from serving.http.operation import Content
from serving.http.requests.json_body import JSON, read_json
from serving.kinds.interface import Stream
from serving.kinds.responses import item_problem
from serving.kinds.text.routes import TAG, example_text
from serving.kinds.text.schemas import ClassifyText, TextFailure, TextResult

if TYPE_CHECKING:
    from serving.kinds.text.handler import TextHandler


def classify_stream(handler: TextHandler) -> Stream:
    """Return the streamed form of `classify_text`."""

    async def one(index: int, text: str) -> BaseModel:
        try:
            response = await handler.classify([text])
        except Exception as error:
            return TextFailure(index=index, error=item_problem(error))
        return TextResult(index=index, **response.texts[0])

    async def read(request: Request) -> Sequence[Callable[[], Awaitable[BaseModel]]]:
        body = handler.request_type.validate_json(await read_json(request))
        texts = [body.text] if isinstance(body, ClassifyText) else body.texts
        return [partial(one, index, text) for index, text in enumerate(texts)]

    return Stream(
        id="stream_texts",
        path="/v1/texts/classify-stream",
        tag=TAG,
        summary="Classify several texts, each answered as it is finished",
        description="As `classify_text`, as Server-Sent Events.",
        body=Content(
            JSON,
            lambda: handler.request_type,
            lambda: {"texts": {"texts": [example_text(handler.model.card), "Another text."]}},
        ),
        read=read,
        example={"status": "ok", "index": 0, "prediction": "a", "probabilities": {"a": 0.8, "b": 0.2}},
        answer_description="One event for each text, then `done`.",
    )

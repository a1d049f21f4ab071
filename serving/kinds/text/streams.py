"""`stream_texts`: several texts, each prediction sent as it is finished."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field, create_model
from starlette.requests import Request

from serving.http.operation import Content, JsonSchema
from serving.http.requests.json_body import JSON, read_json
from serving.http.requests.query import Query, parameters_of, read_query
from serving.kinds.interface import Stream, StreamCalls, StreamQuery
from serving.kinds.responses import item_problem
from serving.kinds.text.routes import TAG, example_text
from serving.kinds.text.schemas import ClassifyText, Text, TextFailure, TextResult

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

    query_type = _query_type(handler.max_texts)

    def calls(texts: Sequence[str]) -> StreamCalls:
        return [partial(one, index, text) for index, text in enumerate(texts)]

    def parameters() -> tuple[JsonSchema, ...]:
        return parameters_of(query_type, texts=[example_text(handler.model.card), "Another text."])

    async def read(request: Request) -> StreamCalls:
        body = handler.request_type.validate_json(await read_json(request))
        return calls([body.text] if isinstance(body, ClassifyText) else body.texts)

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
        query=StreamQuery("get_text_stream", parameters, lambda request: calls(read_query(request, query_type).texts)),
    )


class _TextsQuery(Query):
    texts: tuple[str, ...]


def _query_type(max_texts: int) -> type[_TextsQuery]:
    # An empty item of a list in a query string cannot be told from an empty list.
    text = Annotated[Text, Field(min_length=1)]
    texts = Annotated[tuple[text, ...], Field(min_length=1, max_length=max_texts, description="The texts to classify.")]
    return create_model("_TextsQuery", __base__=_TextsQuery, texts=(texts, ...))

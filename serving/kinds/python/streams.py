"""`stream_instances`: several instances, each prediction sent as it is finished."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from starlette.requests import Request

from serving.http.requests.json_body import read_json
from serving.kinds.interface import Stream, StreamCalls
from serving.kinds.python.routes import TAG, request_body
from serving.kinds.python.schemas import PythonFailure, PythonResult
from serving.kinds.responses import item_problem

if TYPE_CHECKING:
    from serving.kinds.python.handler import PythonHandler


def predict_stream(handler: PythonHandler) -> Stream:
    """Return the streamed form of `predict_python`."""

    async def one(index: int, instance: Any) -> BaseModel:  # Any: JSON
        try:
            response = await handler.predict([instance])
        except Exception as error:
            return PythonFailure(index=index, error=item_problem(error))
        return PythonResult(index=index, prediction=response.predictions[0])

    async def read(request: Request) -> StreamCalls:
        instances = handler.model.chosen().read(await read_json(request, handler.json_bounds))
        return [partial(one, index, instance) for index, instance in enumerate(instances)]

    return Stream(
        id="stream_instances",
        path="/v1/python/predict-stream",
        tag=TAG,
        summary="Predict several instances, each answered as it is finished",
        description="As `predict_python`, as Server-Sent Events.",
        body=request_body(handler),
        read=read,
        example={"status": "ok", "index": 0, "prediction": {"positive": True}},
        answer_description="One event for each instance, then `done`.",
    )

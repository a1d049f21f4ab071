"""The operation `predict_python`: JSON in, JSON out, typed by the card of the served version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serving.http.operation import CALL_PROBLEMS, Content, JsonSchema, Operation
from serving.http.requests.json_body import JSON
from serving.kinds.json_operation import answer_one
from serving.kinds.python.schemas import PythonInstances, PythonPredictions, add_schema
from serving.schemas.fields import EXAMPLE_VERSION

if TYPE_CHECKING:
    from serving.kinds.python.handler import PythonHandler

TAG = "python"
PREDICT = "predict_python"
PREDICT_PATH = "/v1/python/predict"


def predict_operation(handler: PythonHandler) -> Operation:
    """Return the operation `predict_python`."""

    def refine_answer(components: dict[str, JsonSchema]) -> None:
        schema = add_schema(components, handler.model.current.code.output, prefix=handler.model.path_name)
        components[PythonPredictions.__name__]["properties"]["predictions"]["items"] = schema

    return Operation(
        id=PREDICT,
        answered_by=handler.answering,
        method="POST",
        takes_version=True,
        path=PREDICT_PATH,
        tag=TAG,
        summary="Predict instances with the user's own class",
        description="An instance and a prediction have the types of the class.",
        handler=answer_one(handler),
        body=request_body(handler),
        answer=Content(JSON, lambda: PythonPredictions, lambda: _examples(handler), refine=refine_answer),
        answer_description="One prediction per instance, in the order of the request.",
        problems=CALL_PROBLEMS,
    )


def request_body(handler: PythonHandler) -> Content:
    """Return the body of a request, with instances as the card of the served version types them."""

    def refine(components: dict[str, JsonSchema]) -> None:
        schema = add_schema(components, handler.model.current.code.input, prefix=handler.model.path_name)
        components[PythonInstances.__name__]["properties"]["instances"]["items"] = schema

    return Content(
        JSON,
        lambda: handler.model.current.request_type,
        lambda: {"instance": {"instances": [handler.model.current.code.example]}},
        refine=refine,
    )


def example_line(handler: PythonHandler) -> dict[str, Any]:  # Any: JSON
    """Return an example of the prediction for one instance, with its model, or an empty dictionary."""
    example = _examples(handler).get("instance")
    return {} if example is None else {"prediction": example["predictions"][0], "model": example["model"]}


def _examples(handler: PythonHandler) -> dict[str, Any]:  # Any: JSON
    version = handler.model.current
    if version.code.uses:
        # Its result is not known before the other models are there.
        return {}
    response = {
        "model": {"name": version.card.name, "version": EXAMPLE_VERSION},
        "predictions": [version.code.example_prediction],
        "inference_time_ms": 0.9,
    }
    return {"instance": response}

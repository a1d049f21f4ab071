"""The operation `predict_tabular`: JSON in, JSON out, typed by the card of the served version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from serving.http.operation import CALL_PROBLEMS, Content, JsonSchema, Operation
from serving.http.requests.json_body import JSON, read_json
from serving.http.requests.query import Query, parameters_of, read_query
from serving.kinds.tabular.schemas import ExtraColumns, TabularSchema
from serving.schemas.fields import EXAMPLE_VERSION

if TYPE_CHECKING:
    from serving.kinds.tabular.handler import TabularHandler

TAG = "tabular"
PREDICT = "predict_tabular"
PREDICT_PATH = "/v1/tabular/predict"


class PredictQuery(Query):
    """The options of a prediction."""

    extra: ExtraColumns = Field(
        "refuse",
        description="Whether a column that the model does not have, such as the target, is a fault or left out.",
    )


def predict_operation(handler: TabularHandler) -> Operation:
    """Return the operation `predict_tabular`."""

    async def predict(request: Request) -> Response:
        query = read_query(request, PredictQuery)
        (outcome,) = await handler.predict_each([await read_json(request)], extra=query.extra)
        if isinstance(outcome, Exception):
            raise outcome
        return Response(outcome.to_json(), 200, {"Cache-Control": "no-store"}, JSON)

    def schema() -> TabularSchema:
        return handler.model.current.schema

    def refine(components: dict[str, JsonSchema]) -> None:
        schema().refine(components)

    return Operation(
        id=PREDICT,
        answered_by=handler.model.answering if handler.is_cached else None,
        method="POST",
        takes_version=True,
        path=PREDICT_PATH,
        tag=TAG,
        summary="Predict rows of the table",
        description="The fields of a row are the columns of the table that the model was trained on.",
        handler=predict,
        parameters=lambda: parameters_of(PredictQuery),
        body=Content(JSON, lambda: schema().request, lambda: {"row": {"instances": [schema().example_row]}}),
        answer=Content(JSON, lambda: schema().answer, lambda: {"row": _example(schema())}, refine=refine),
        answer_description="One prediction per row, in the order of the request.",
        problems=CALL_PROBLEMS,
    )


def example_line(schema: TabularSchema) -> dict[str, Any]:
    """Return an example of the prediction for one row, with its model."""
    return {**schema.form.example(), "model": _model(schema)}


def _example(schema: TabularSchema) -> dict[str, Any]:
    return {"model": _model(schema), "predictions": [schema.form.example()], "inference_time_ms": 0.9}


def _model(schema: TabularSchema) -> dict[str, str]:
    return {"name": schema.card.name, "version": EXAMPLE_VERSION}

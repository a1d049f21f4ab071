"""Predictions for rows over HTTP: JSON in, JSON out, typed by the card."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from serving.http.operation import CALL_PROBLEMS, Content, JsonSchema, Operation
from serving.http.requests.json_body import JSON, answer, read_json
from serving.kinds.served_models import answering_model
from serving.kinds.tabular.handler import TabularHandler
from serving.kinds.tabular.schemas import ClassifiedRow, ClassifiedRows, TabularSchema
from serving.schemas.fields import EXAMPLE_VERSION

TAG = "tabular"
PREDICT = "predict_tabular"
PREDICT_PATH = "/v1/tabular/predict"


def operations(calls: TabularHandler) -> list[Operation]:
    """`predict_tabular`."""

    async def predict(request: Request) -> Response:
        return answer(await calls.predict_json(await read_json(request)))

    def refine(components: dict[str, JsonSchema]) -> None:
        if calls.schema.answer is ClassifiedRows:
            calls.schema.response_schema(components[ClassifiedRow.__name__])

    return [
        Operation(
            id=PREDICT,
            answered_by=lambda: answering_model(calls.served),
            method="POST",
            takes_version=True,
            path=PREDICT_PATH,
            tag=TAG,
            summary="Predict rows of the table",
            description="The fields of a row are the columns of the table that the model was trained on.",
            handler=predict,
            body=Content(
                JSON, lambda: calls.schema.request, lambda: {"row": {"instances": [calls.schema.example_row]}}
            ),
            answer=Content(JSON, lambda: calls.schema.answer, lambda: {"row": _answer(calls.schema)}, refine=refine),
            answer_description="One prediction per row, in the order of the request.",
            problems=CALL_PROBLEMS,
        )
    ]


def _answer(schema: TabularSchema) -> dict[str, Any]:
    row: dict[str, Any] = {"prediction": 1.0}
    if schema.answer is ClassifiedRows:
        classes = schema.card.classes
        others = round(0.2 / max(1, len(classes) - 1), 6)
        row = {"prediction": classes[0], "probabilities": dict.fromkeys(classes, others) | {classes[0]: 0.8}}
    model = {"name": schema.card.name, "version": EXAMPLE_VERSION}
    return {"model": model, "predictions": [row], "inference_time_ms": 0.9}

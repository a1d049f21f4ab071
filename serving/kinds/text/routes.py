"""The operation `classify_text`: JSON in, JSON out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.card import Card
from serving.http.operation import CALL_PROBLEMS, Content, JsonSchema, Operation
from serving.http.requests.json_body import JSON
from serving.kinds.json_operation import answer_one
from serving.kinds.text.schemas import TextPrediction, TextPredictions, narrow
from serving.schemas.fields import EXAMPLE_VERSION

if TYPE_CHECKING:
    from serving.kinds.text.handler import TextHandler

TAG = "texts"
CLASSIFY = "classify_text"
CLASSIFY_PATH = "/v1/texts/classify"


def classify_operation(handler: TextHandler) -> Operation:
    """Return the operation `classify_text`."""

    def refine(components: dict[str, JsonSchema]) -> None:
        narrow(components[TextPrediction.__name__], handler.model.card)

    return Operation(
        id=CLASSIFY,
        answered_by=handler.model.answering,
        method="POST",
        takes_version=True,
        path=CLASSIFY_PATH,
        tag=TAG,
        summary="Classify a text, or several",
        description=f"One `text`, or up to {handler.max_texts} `texts`.",
        handler=answer_one(handler),
        body=Content(
            JSON,
            lambda: handler.request_type,
            lambda: {
                "text": {"text": example_text(handler.model.card)},
                "texts": {"texts": [example_text(handler.model.card), "Another text."]},
            },
        ),
        answer=Content(JSON, lambda: TextPredictions, lambda: {"text": _example(handler.model.card)}, refine=refine),
        answer_description="One prediction per text, in the order of the request.",
        problems=CALL_PROBLEMS,
    )


def example_text(card: Card) -> str:
    """Return a text of the training data, where the card has one."""
    return next((str(column.example) for column in card.inputs if column.example), "A text to classify.")


def example_line(card: Card) -> dict[str, Any]:
    """Return an example of the prediction for one text, with its model."""
    example = _example(card)
    return {**example["predictions"][0], "model": example["model"]}


def _example(card: Card) -> dict[str, Any]:
    classes = card.classes
    others = round(0.2 / max(1, len(classes) - 1), 6)
    prediction = {
        "prediction": classes[0],
        "probabilities": dict.fromkeys(classes, others) | {classes[0]: 0.8},
    }
    model = {"name": card.name, "version": EXAMPLE_VERSION}
    return {"model": model, "predictions": [prediction], "inference_time_ms": 0.7}

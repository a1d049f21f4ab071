"""Classification of texts: requests and responses."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, TypeAdapter, create_model

from models.card import Card
from serving.kinds.responses import ItemProblem
from serving.schemas.fields import InferenceTime, ModelUsed, Request, Response

MAX_TEXT_CHARACTERS = 100_000
# More classes than this are not spelled out in the schema of responses.
_LISTED_CLASSES = 100

Text = Annotated[str, Field(max_length=MAX_TEXT_CHARACTERS, description="The text to classify.")]


class ClassifyText(Request):
    """One text."""

    text: Text = Field(examples=["A text to classify."])


class ClassifyTexts(Request):
    """Several texts."""

    texts: Annotated[list[Text], Field(min_length=1, description="The texts to classify.")]


class TextPrediction(Response):
    """The likeliest class of one text."""

    prediction: str = Field(description="The class with the highest probability.")
    probabilities: dict[str, float] = Field(description="Probability of each class.")


class TextPredictions(Response):
    """One prediction per text, in the order of the request."""

    model: ModelUsed
    predictions: list[TextPrediction]
    inference_time_ms: InferenceTime


class TextResult(TextPrediction):
    """The prediction for one text of a stream."""

    status: Literal["ok"] = "ok"
    index: int = Field(ge=0, description="Position of the text in the request.")


class TextFailure(Response):
    """Why one text of a stream has no prediction. It does not affect the others."""

    status: Literal["error"] = "error"
    index: int = Field(ge=0, description="Position of the text in the request.")
    error: ItemProblem


TextItem = Annotated[TextResult | TextFailure, Discriminator("status")]


def request_type(max_texts: int) -> TypeAdapter[Any]:  # Any: a union of types made from a setting
    """Return the request of the call: one text, or up to `max_texts` texts."""
    texts = Annotated[list[Text], Field(min_length=1, max_length=max_texts, description="The texts to classify.")]
    several = create_model(
        ClassifyTexts.__name__, __base__=ClassifyTexts, __doc__=ClassifyTexts.__doc__, texts=(texts, ...)
    )
    return TypeAdapter(ClassifyText | several)


def narrow(schema: dict[str, Any], card: Card) -> None:
    """Narrow the JSON schema of one prediction, in place, to the classes of the card."""
    classes = list(card.classes)
    if not 0 < len(classes) <= _LISTED_CLASSES:
        return
    share = {"type": "number", "minimum": 0, "maximum": 1}
    schema["properties"]["prediction"]["enum"] = classes
    schema["properties"]["probabilities"] |= {
        "properties": dict.fromkeys(classes, share),
        "required": classes,
        "additionalProperties": False,
    }

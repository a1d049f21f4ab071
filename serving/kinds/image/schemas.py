"""Classification of images: requests and responses."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, JsonValue
from typing_extensions import TypeAliasType

from serving.kinds.responses import ItemProblem
from serving.schemas.fields import InferenceTime, ModelUsed, Request, Response, WholeNumber

MAX_TOP_K = 20
_BASE64: dict[str, JsonValue] = {"format": "byte", "contentEncoding": "base64"}


class ClassifyOptions(Request):
    """How many classes to return, and the lowest confidence of each."""

    top_k: WholeNumber = Field(5, ge=1, le=MAX_TOP_K, description="How many classes to answer at most.")
    threshold: float = Field(
        0.0, ge=0, le=1, allow_inf_nan=False, description="Leave out classes with less confidence than this."
    )
    model: str | None = Field(
        None,
        min_length=1,
        max_length=128,
        description="Name of an image model that is served; else the first one.",
    )


class _SucceededOptions(ClassifyOptions):
    threshold: float = Field(
        0.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Leave out classes with less confidence than this. Version 2 calls it `min_confidence`.",
        json_schema_extra={"deprecated": True},
    )


class ClassifyFile(_SucceededOptions):
    """An image file in JSON."""

    image: Annotated[str, Field(min_length=1, description="The file, in base64.", json_schema_extra=_BASE64)]


class ClassifyUrl(_SucceededOptions):
    """Where an image file is."""

    url: str = Field(min_length=1, max_length=2048, description="http:// or https://, of a host that is allowed.")


class ClassPrediction(Response):
    """One class and its probability."""

    class_id: int = Field(ge=0, description="Position of the class among the model's classes.", examples=[285])
    label: str = Field(description="Name of the class.", examples=["Egyptian cat"])
    confidence: float = Field(ge=0, le=1, description="Probability of the class.", examples=[0.62])


Predictions = Annotated[list[ClassPrediction], Field(description="Best first.")]


class Classification(Response):
    """The classes of one image."""

    model: ModelUsed
    predictions: Predictions
    inference_time_ms: InferenceTime


class ImageResult(Response):
    """The answer for one image of a batch."""

    status: Literal["ok"] = "ok"
    index: int = Field(ge=0, description="Position of the image in the request.")
    predictions: Predictions


class ImageFailure(Response):
    """Why one image of a batch has no result. It does not affect the others."""

    status: Literal["error"] = "error"
    index: int = Field(ge=0, description="Position of the image in the request.")
    error: ItemProblem


ImageOutcome = TypeAliasType("ImageOutcome", Annotated[ImageResult | ImageFailure, Discriminator("status")])


class BatchClassification(Response):
    """One result or one error per image, in the order of the request."""

    model: ModelUsed | None = Field(description="The model that answered; null when no image could be read.")
    results: list[ImageOutcome]
    inference_time_ms: InferenceTime

"""Version 2 of the classification of an image: the model by name, its version, and the embedding."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, JsonValue

from serving.kinds.image.schemas import MAX_TOP_K, ClassPrediction
from serving.schemas.fields import VERSION_PATTERN, InferenceTime, ModelUsed, Request, Response, WholeNumber

_BASE64: dict[str, JsonValue] = {"format": "byte", "contentEncoding": "base64"}


def as_flag(value: object) -> object:
    """A boolean as a form or a query string has it."""
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


class ClassifyOptionsV2(Request):
    """Which model, how many classes, and whether the embedding too."""

    top_k: WholeNumber = Field(5, ge=1, le=MAX_TOP_K, description="How many classes to answer at most.")
    min_confidence: float = Field(
        0.0, ge=0, le=1, allow_inf_nan=False, description="Leave out classes with less confidence than this."
    )
    embedding: Annotated[bool, BeforeValidator(as_flag)] = Field(
        False, description="Whether to answer the penultimate features of the network too."
    )
    model: str | None = Field(
        None,
        min_length=1,
        max_length=128,
        description="Name of an image model that is served; else the first one.",
    )
    version: str | None = Field(
        None,
        pattern=VERSION_PATTERN,
        description="A version of it that answers; comes before `X-Model-Version`.",
    )


class ClassifyFileV2(ClassifyOptionsV2):
    """An image file in JSON."""

    image: Annotated[str, Field(min_length=1, description="The file, in base64.", json_schema_extra=_BASE64)]


class ClassifyUrlV2(ClassifyOptionsV2):
    """Where an image file is."""

    url: str = Field(min_length=1, max_length=2048, description="http:// or https://, of a host that is allowed.")


class ClassificationV2(Response):
    """The classes of one image, and its embedding where requested."""

    model: ModelUsed
    predictions: Annotated[list[ClassPrediction], Field(description="Best first.")]
    embedding: list[float] | None = Field(description="The penultimate features; null unless requested.")
    inference_time_ms: InferenceTime

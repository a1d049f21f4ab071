"""Parts of what is known about a model, each with an address of its own."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from models.card import Column, Scalar, Task
from serving.schemas.fields import EXAMPLE_VERSION, Response
from serving.schemas.models import ModelVersion


class OfVersion(Response):
    """One version of one model."""

    name: str = Field(examples=["tabular"])
    version: str = Field(examples=[EXAMPLE_VERSION])


class ModelMetrics(OfVersion):
    """How good a model is, on data held out when it was trained. What was not asked for is empty."""

    overall: Mapping[str, float]
    classes: Mapping[str, Mapping[str, float]] = Field(description="By class, where that was measured.")
    slices: Mapping[str, Mapping[str, float]] = Field(description="By any other slice of the data.")
    notes: list[str] = Field(description="What the metrics are of; and why something that was asked for is empty.")


class ModelParams(OfVersion):
    """What a model was trained with."""

    params: Mapping[str, Scalar]


class ModelParam(OfVersion):
    """One of the parameters that a model was trained with."""

    param: str
    value: Scalar


class ModelVersions(Response):
    """Every version of a model in the store, newest first."""

    name: str
    versions: list[ModelVersion]


class ModelSchema(OfVersion):
    """What a model takes and gives."""

    task: Task
    inputs: list[Column]
    outputs: list[Column]
    classes: list[str]

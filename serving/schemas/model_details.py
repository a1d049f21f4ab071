"""Parts of the description of a model, each with its own address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any  # JSON

from pydantic import Field

from models.card import Column, Scalar, Task
from serving.schemas.fields import EXAMPLE_MODEL, EXAMPLE_VERSION, Response
from serving.schemas.models import ModelVersion


class OfVersion(Response):
    """One version of one model."""

    name: str = Field(examples=[EXAMPLE_MODEL])
    version: str = Field(examples=[EXAMPLE_VERSION])


class ModelMetrics(OfVersion):
    """Metrics of a model on held-out data. Parts that the filter excludes are empty."""

    overall: Mapping[str, float]
    classes: Mapping[str, Mapping[str, float]] = Field(description="By class, where it was measured.")
    slices: Mapping[str, Mapping[str, float]] = Field(description="By any other slice of the data.")
    notes: list[str] = Field(description="What the metrics measure, and why a requested part is empty.")


class ModelParams(OfVersion):
    """Training parameters of a model."""

    params: Mapping[str, Scalar]


class ModelParam(OfVersion):
    """One training parameter of a model."""

    param: str
    value: Scalar


class ModelVersions(Response):
    """Every version of a model in the store, newest first."""

    name: str
    versions: list[ModelVersion]


class ModelSchema(OfVersion):
    """Inputs and outputs of a model."""

    task: Task
    inputs: list[Column]
    outputs: list[Column]
    classes: list[str]
    input_schema: dict[str, Any] | None = Field(
        None, description="JSON Schema of one instance of a user-defined class, else null."
    )
    output_schema: dict[str, Any] | None = Field(
        None, description="JSON Schema of one prediction of a user-defined class, else null."
    )

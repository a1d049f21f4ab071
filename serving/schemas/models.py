"""What is told about the models: which there are, which are served, how good they are, what they were made from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pydantic import Field

from models.card import Card, Column, DataSource, Parity, Scalar, Task
from serving.schemas.fields import EXAMPLE_VERSION, Response


class ModelVersion(Response):
    """One version of one model."""

    name: str = Field(examples=["tabular"])
    version: str = Field(examples=[EXAMPLE_VERSION])
    served: bool = Field(description="Whether this is the version that answers.")
    task: Task
    algorithm: str = Field(description="The architecture or the chosen estimator.")
    created: datetime
    metrics: Mapping[str, float] = Field(description="Measured on held-out data when the model was trained.")


class ModelList(Response):
    """Every version of every model in the store, newest first within a name."""

    models: list[ModelVersion]


class ModelDetails(ModelVersion):
    """All that is known about the served version of a model, or about the newest when none is served."""

    description: str
    inputs: list[Column]
    outputs: list[Column]
    classes: list[str]
    slices: Mapping[str, Mapping[str, float]] = Field(description="Metrics by slice of the held-out data.")
    params: Mapping[str, Scalar] = Field(description="Training parameters.")
    libraries: Mapping[str, str] = Field(description="Versions of the libraries that trained it.")
    data: DataSource = Field(description="What it was trained on.")
    parity: Parity | None = Field(description="How far the serving runtime and the training framework agree.")
    versions: list[ModelVersion] = Field(description="Every version in the store, newest first.")


def summary(card: Card, *, version: str, served: bool) -> ModelVersion:
    """One version as it is listed."""
    return ModelVersion(
        name=card.name,
        version=version,
        served=served,
        task=card.task,
        algorithm=card.algorithm,
        created=card.created,
        metrics=card.metrics,
    )


def details(card: Card, *, version: str, served: bool, versions: list[ModelVersion]) -> ModelDetails:
    """One version with all that its card tells."""
    return ModelDetails(
        **dict(summary(card, version=version, served=served)),
        description=card.description,
        inputs=list(card.inputs),
        outputs=list(card.outputs),
        classes=list(card.classes),
        slices=card.slices,
        params=card.params,
        libraries=card.libraries,
        data=card.data,
        parity=card.parity,
        versions=versions,
    )

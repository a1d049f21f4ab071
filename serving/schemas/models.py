"""Descriptions of models: versions, metrics, inputs, lineage."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pydantic import Field

from models.card import Card, Column, DataSource, Parity, Scalar, Task
from serving.schemas.aliases import ModelAlias
from serving.schemas.fields import EXAMPLE_MODEL, EXAMPLE_VERSION, Response
from serving.schemas.model_changes import ServedModelState


class ModelVersion(Response):
    """One version of one model."""

    name: str = Field(examples=[EXAMPLE_MODEL])
    version: str = Field(examples=[EXAMPLE_VERSION])
    served: bool = Field(description="Whether this is the default version.")
    task: Task
    algorithm: str = Field(description="The architecture or the chosen estimator.")
    created: datetime
    metrics: Mapping[str, float] = Field(description="Measured on held-out data when the model was trained.")


class ModelList(Response):
    """Every version of every model in the store, newest first within a name; and the models of the service."""

    models: list[ModelVersion]
    service: list[ServedModelState] = Field(description="The models of the service, and whether they answer.")
    aliases: list[ModelAlias] = Field(description="Every alias, and why its version cannot be used, if so.")


class ModelDetails(ModelVersion):
    """The default version of a model in full, or the newest version where the model is not served."""

    description: str
    inputs: list[Column]
    outputs: list[Column]
    classes: list[str]
    slices: Mapping[str, Mapping[str, float]] = Field(description="Metrics by slice of the held-out data.")
    params: Mapping[str, Scalar] = Field(description="Training parameters.")
    libraries: Mapping[str, str] = Field(description="Versions of the libraries that trained it.")
    data: DataSource = Field(description="What it was trained on.")
    parity: Parity | None = Field(description="Agreement of the serving runtime with the training framework.")
    versions: list[ModelVersion] = Field(description="Every version in the store, newest first.")


def summary(card: Card, *, version: str, served: bool) -> ModelVersion:
    """Return one version as the list shows it."""
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
    """Return one version with its whole card."""
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

"""Bodies of the operations that add, change and remove models."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from serving.schemas.fields import EXAMPLE_MODEL, EXAMPLE_VERSION, Request, Response
from serving.settings.model_list import RUNNER_PATTERN


class ModelRequest(Request):
    """A model of the service, as a table of the model list."""

    artifact: str = Field(
        min_length=1,
        max_length=2048,
        description="The artifact: `name`, `name:version`, `name:alias`, or a source such as `s3://bucket/churn`.",
        examples=[EXAMPLE_MODEL],
    )
    kind: str = Field("", max_length=64, description="The kind, where the artifact's card does not say it.")
    runner: str = Field(
        "", pattern=rf"{RUNNER_PATTERN}|^$", description="A running runner; without one, that of the kind."
    )
    placement: Literal["process", "inline"] = Field("process", description="`inline` runs in the gateway's process.")
    required: bool = Field(False, description="Whether `/readyz` is 503 while this model is not ready.")
    watch: bool = Field(
        False, description="Whether a newer version, a moved alias or a changed source is loaded at run time."
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        max_length=50,
        description="Settings of the kind for this model alone, such as `max_queue_rows`.",
        json_schema_extra={"propertyNames": {"pattern": "^[a-z_]+$"}},
    )


class ServedModelState(Response):
    """A model of the service, and whether it answers."""

    name: str = Field(examples=[EXAMPLE_MODEL])
    kind: str = Field(description="Empty while it is not known.")
    artifact: str
    version: str = Field(description="The default version; empty while there is none.", examples=[EXAMPLE_VERSION])
    status: Literal["ready", "unavailable", "failed"] = Field(
        description="`failed`: it cannot be loaded. `unavailable`: its runner does not answer at the moment."
    )
    reason: str = Field(description="Why it is not ready, or empty.")
    runner: str = Field(description="The runner that holds it, or empty.")
    required: bool = Field(description="Whether `/readyz` is 503 while it is not ready.")

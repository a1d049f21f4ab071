"""The settings of the user's own classes."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from serving.settings.settings import Placement, Settings


def _check_placement(value: str) -> str:
    if value == "inline":
        raise ValueError("expected `process` or an http:// address: user code runs outside of the gateway")
    return value


class PythonSettings(Settings):
    """The settings of the service with the user's own classes."""

    python_model: str = Field(
        "",
        description="Tag of an artifact of `training.python`, such as `sentiment:latest`; none is served when empty.",
    )
    python_placement: Annotated[Placement, AfterValidator(_check_placement)] = Field(
        "process", description="Placement of the runner of the user's own class: not `inline`."
    )
    max_instances: int = Field(
        256, gt=0, description="Maximum number of instances in one request to the user's own class."
    )
    reload_code: bool = Field(
        False,
        description="Whether the user's own class is imported again when its files change: `make dev`.",
    )

"""Bodies of the calls that share out the requests to a model between its versions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from serving.schemas.fields import EXAMPLE_VERSION, NEWER_VERSION, VERSION_PATTERN, Request, Response

MAX_VERSIONS = 8
_TOLERANCE = 1e-6

Version = Annotated[str, Field(pattern=VERSION_PATTERN, description="A version of the model in the store.")]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Role = Literal["default", "weighted", "named", "shadow"]


class TrafficRequest(Request):
    """How to share out the requests. At least one of the fields is needed."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["weights"], "properties": {"weights": {"minProperties": 1}}},
                {"required": ["shadow"], "properties": {"shadow": {"type": "string"}}},
            ]
        }
    )

    weights: dict[Version, Share] = Field(
        default_factory=dict,
        max_length=MAX_VERSIONS,
        description="The share of each version; they add up to 1. One of 0 answers those who name it. Without any, the "
        "version that answers by default gets all.",
        examples=[{EXAMPLE_VERSION: 0.9, NEWER_VERSION: 0.1}],
    )
    shadow: Version | None = Field(
        None, description="A version that is asked too: its answers are compared, counted and thrown away."
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        total = math.fsum(self.weights.values())
        if self.weights and abs(total - 1) > _TOLERANCE:
            raise PydanticCustomError("weights", "the weights add up to {total}, and have to add up to 1",
                                      {"total": round(total, 6)})  # fmt: skip
        if not self.weights and self.shadow is None:
            raise PydanticCustomError("weights", "weights or a shadow are needed; DELETE gives all to the default")
        return self


class TrafficVersion(Response):
    """One version that can be asked."""

    version: str = Field(examples=[EXAMPLE_VERSION])
    roles: list[Role] = Field(
        description="`default`: answers when nothing else is said. `weighted`: has a share. `named`: has none, and "
        "answers those who name it. `shadow`: is compared."
    )
    share: float = Field(ge=0, le=1, description="The share of the requests that name no version.")
    loaded: bool = Field(description="Whether the runner holds it now.")


class Traffic(Response):
    """How the requests to a model are shared out."""

    name: str = Field(description="Name of the model in the store.", examples=["tabular"])
    weights: Mapping[str, float] = Field(description="The share of each version, as it was asked for.")
    shadow: str | None = Field(description="The version that is asked too and compared.")
    versions: list[TrafficVersion] = Field(description="Every version that can be asked by name, the default first.")

"""Bodies of the operations on the traffic split of a model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from serving.schemas.fields import EXAMPLE_MODEL, EXAMPLE_VERSION, VERSION_PATTERN, Request, Response

MAX_VERSIONS = 8
_TOLERANCE = 1e-6

Version = Annotated[str, Field(pattern=VERSION_PATTERN, description="A version of the model in the store.")]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Role = Literal["default", "weighted", "named", "shadow"]


class TrafficRequest(Request):
    """A traffic split. At least one of the fields is required."""

    model_config = ConfigDict(
        json_schema_extra={
            # Generators of clients write a class for each option of an `anyOf`, without the fields.
            "if": {"properties": {"weights": {"maxProperties": 0}}},
            "then": {"required": ["shadow"], "properties": {"shadow": {"type": "string"}}},
        }
    )

    weights: dict[Version, Share] = Field(
        default_factory=dict,
        max_length=MAX_VERSIONS,
        description="The share of each version; shares add up to 1. A version of share 0 answers the requests that "
        "name it. Without any weights the default version gets all requests.",
        examples=[{EXAMPLE_VERSION: 1.0}],
    )
    shadow: Version | None = Field(
        None, description="A version that gets a copy of each request: its answers are compared, counted and discarded."
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        total = math.fsum(self.weights.values())
        if self.weights and abs(total - 1) > _TOLERANCE:
            raise PydanticCustomError("weights", "the weights add up to {total}, and must add up to 1",
                                      {"total": round(total, 6)})  # fmt: skip
        if not self.weights and self.shadow is None:
            raise PydanticCustomError(
                "weights", "weights or a shadow are required; DELETE sends all requests to the default version"
            )
        return self


class TrafficVersion(Response):
    """One version that a request can reach."""

    version: str = Field(examples=[EXAMPLE_VERSION])
    roles: list[Role] = Field(
        description="`default`: answers where no split applies. `weighted`: has a share. `named`: answers the requests "
        "that name it. `shadow`: gets copies of requests."
    )
    share: float = Field(ge=0, le=1, description="Share of the requests that name no version.")
    loaded: bool = Field(description="Whether the runner has loaded it.")


class Traffic(Response):
    """The traffic split of a model."""

    name: str = Field(description="Name of the model in the store.", examples=[EXAMPLE_MODEL])
    weights: Mapping[str, float] = Field(description="The share of each version, as requested.")
    shadow: str | None = Field(description="The version that gets copies of requests.")
    versions: list[TrafficVersion] = Field(description="Every version that a request can name, the default one first.")

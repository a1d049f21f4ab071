"""The problem document of every error (RFC 9457)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from serving.errors.faults import Fault


class Problem(BaseModel):
    """Problem document of an error (RFC 9457, `application/problem+json`)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str = Field(description="Stable name of the problem type, a path on this server.")
    title: str = Field(description="Title of the problem type.")
    status: int = Field(description="HTTP status code.", ge=400, le=599)
    detail: str = Field(description="Description of this occurrence.")
    instance: str = Field(description="Path of the request.")
    request_id: str = Field(description="Id of the request, as in the `X-Request-ID` header and in the logs.")
    errors: list[Fault] | None = Field(default=None, description="Faults of an invalid request.")
    error: str | None = Field(
        default=None, description="Same as `detail`, below `/v2`: clients of the Open Inference Protocol read it."
    )


class ProblemKind(BaseModel):
    """A problem type."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str = Field(examples=["/problems/validation"])
    title: str
    status: int = Field(ge=400, le=599)
    description: str


class ProblemKinds(BaseModel):
    """All problem types."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    problems: list[ProblemKind]

"""The problem document of every error (RFC 9457)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from serving.errors.faults import Fault


class Problem(BaseModel):
    """What went wrong (RFC 9457, `application/problem+json`)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str = Field(description="Stable name of the kind of problem, as a path on this server.")
    title: str = Field(description="The kind of problem in words; the same for every occurrence.")
    status: int = Field(description="HTTP status code.", ge=400, le=599)
    detail: str = Field(description="What happened this time, and what would help.")
    instance: str = Field(description="Path of the request that met the problem.")
    request_id: str = Field(description="Id of the request, as in the `X-Request-ID` header and in the logs.")
    errors: list[Fault] | None = Field(default=None, description="Each fault of the request, where there are several.")


class ProblemKind(BaseModel):
    """One kind of problem that this service answers with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str = Field(examples=["/problems/validation"])
    title: str
    status: int = Field(ge=400, le=599)
    description: str


class ProblemKinds(BaseModel):
    """Every kind of problem that this service answers with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    problems: list[ProblemKind]

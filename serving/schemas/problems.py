"""The problem document of every error (RFC 9457)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ValueType = Literal["absent", "null", "boolean", "number", "string", "array", "object", "file"]
_JSON_TYPES: dict[type, ValueType] = {
    type(None): "null",
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    bytes: "file",
}


def json_type(value: object) -> ValueType:
    """The JSON type of a value that was read from JSON, or from a file part."""
    return _JSON_TYPES.get(type(value), "object")


class Fault(BaseModel):
    """One fault of a request, and where it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    location: list[str | int] = Field(
        description="Path to the fault: `body`, `path`, `query` or `header`, then names and positions.",
        examples=[["body", "instances", 0, "age"]],
    )
    message: str = Field(description="What is wrong.", examples=["Input should be a valid number"])
    value_type: ValueType = Field(description="JSON type of the value that was sent; `absent` when it is missing.")


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

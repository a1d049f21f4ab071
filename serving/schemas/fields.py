"""Fields and base classes of several requests and responses."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from models.limits import MAX_ID_CHARACTERS, MAX_SAFE_INTEGER

# A version is the name of a folder.
VERSION_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$"
# The name and the version of a model in examples. The OpenAPI document has those of a served model in their place.
EXAMPLE_MODEL, EXAMPLE_VERSION = "churn", "fmwlvvqbgkyaqusi"


class Request(BaseModel):
    """Base class of JSON requests. Unknown fields and values of another type are rejected."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Response(BaseModel):
    """Base class of responses."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), json_schema_serialization_defaults_required=True
    )


class ModelUsed(Response):
    """Model that answered the request."""

    name: str = Field(description="Name of the model in the store.", examples=[EXAMPLE_MODEL])
    version: str = Field(description="Version of the model in the store.", examples=[EXAMPLE_VERSION])


def _as_whole(value: object) -> object:
    # JSON Schema and some clients treat 3.0 as an integer; a strict int rejects it.
    return int(value) if type(value) is float and value.is_integer() else value


def _as_text(value: object) -> object:
    # Ids are strings, but clients of tables with numeric ids send numbers.
    whole = _as_whole(value)
    return str(whole) if type(whole) is int and abs(whole) <= MAX_SAFE_INTEGER else value


WholeNumber = Annotated[int, BeforeValidator(_as_whole)]
# The bounds precede the validator, otherwise they would be missing in the schema.
Count = Annotated[int, Field(ge=0, le=MAX_SAFE_INTEGER), BeforeValidator(_as_whole)]
AtLeastOne = Annotated[int, Field(ge=1, le=MAX_SAFE_INTEGER), BeforeValidator(_as_whole)]


def _identifier(what: str, example: str, **more: str) -> WithJsonSchema:
    return WithJsonSchema(
        {
            # One type: generators of clients wrap a value of two. Numbers are read too, for clients of numeric ids.
            "description": f"Id of the {what} in the training data. A whole number is read as its digits.",
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_ID_CHARACTERS,
            **more,
            "examples": [example],
        },
        mode="validation",
    )


_Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARACTERS), BeforeValidator(_as_text)]
UserId = Annotated[_Id, _identifier("user", "196")]
ItemId = Annotated[_Id, _identifier("item", "50")]

# PostgreSQL rejects text with U+0000: one such id would fail the whole transaction.
_STORABLE = r"^[^\x00]*$"
_StorableId = Annotated[
    str, Field(min_length=1, max_length=MAX_ID_CHARACTERS, pattern=_STORABLE), BeforeValidator(_as_text)
]
KeptUserId = Annotated[_StorableId, _identifier("user", "196", pattern=_STORABLE)]
KeptItemId = Annotated[_StorableId, _identifier("item", "50", pattern=_STORABLE)]

InferenceTime = Annotated[
    float,
    Field(
        ge=0,
        description="Milliseconds from the call of the model to its answer, including the time in the batch queue.",
    ),
]

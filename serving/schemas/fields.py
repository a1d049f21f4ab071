"""Fields that several requests and responses share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

MAX_ID_CHARACTERS = 256
# It names a folder of the store.
VERSION_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$"
# In examples: versions as the store names them, the second one newer.
EXAMPLE_VERSION, NEWER_VERSION = "fmwlvvqbgkyaqusi", "h3xk2cqbgo7aqusi"
# What every JSON parser reads exactly (RFC 8259, section 6).
MAX_SAFE_INTEGER = 2**53 - 1


class Request(BaseModel):
    """Base of every JSON request: no field it does not know, no value of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Response(BaseModel):
    """Base of every response."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), json_schema_serialization_defaults_required=True
    )


class ModelUsed(Response):
    """The model that answered."""

    name: str = Field(description="Name of the model in the store.", examples=["image"])
    version: str = Field(description="Version of the model in the store.", examples=[EXAMPLE_VERSION])


def _as_whole(value: object) -> object:
    # 3.0 is an integer to JSON Schema, and to clients whose numbers are all floats; a strict int refuses it.
    return int(value) if type(value) is float and value.is_integer() else value


def _as_text(value: object) -> object:
    # Ids are text inside, but many tables number their users and people send the number.
    whole = _as_whole(value)
    return str(whole) if type(whole) is int and abs(whole) <= MAX_SAFE_INTEGER else value


WholeNumber = Annotated[int, BeforeValidator(_as_whole)]
# Bounds before the validator: after it they would not be in the schema.
Count = Annotated[int, Field(ge=0, le=MAX_SAFE_INTEGER), BeforeValidator(_as_whole)]
AtLeastOne = Annotated[int, Field(ge=1, le=MAX_SAFE_INTEGER), BeforeValidator(_as_whole)]


def _identifier(what: str, example: str, **more: str) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "description": f"Id of the {what}, as it was in the training data. A number counts as its digits.",
            "anyOf": [
                {"type": "string", "minLength": 1, "maxLength": MAX_ID_CHARACTERS, **more},
                {"type": "integer", "minimum": -MAX_SAFE_INTEGER, "maximum": MAX_SAFE_INTEGER},
            ],
            "examples": [example],
        },
        mode="validation",
    )


_Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARACTERS), BeforeValidator(_as_text)]
UserId = Annotated[_Id, _identifier("user", "196")]
ItemId = Annotated[_Id, _identifier("item", "50")]

# PostgreSQL keeps no text with U+0000 in it: one such id would fail all that is written with it.
_KEPT = r"^[^\x00]*$"
_KeptId = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARACTERS, pattern=_KEPT), BeforeValidator(_as_text)]
KeptUserId = Annotated[_KeptId, _identifier("user", "196", pattern=_KEPT)]
KeptItemId = Annotated[_KeptId, _identifier("item", "50", pattern=_KEPT)]

InferenceTime = Annotated[
    float, Field(ge=0, description="Milliseconds from asking the model to its answer, waiting for a batch included.")
]

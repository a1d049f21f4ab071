"""The faults of a request, one per field, as problem documents list them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

# A thousand rows can have ten thousand faults; the first ones are enough to see what is wrong.
MAX_FAULTS = 50


_MAX_MESSAGE_CHARACTERS = 300


_MAX_NAME_CHARACTERS = 100


# Messages of pydantic that speak of Python.
_MESSAGES = {
    "missing": "Field required",
    "extra_forbidden": "There is no such field",
    "multiple_of": "Input should be an integer",
    "finite_number": "Input should be a finite number: NaN and Infinity are not",
}


def faults_of(error: ValidationError, *, within: tuple[str | int, ...] = ()) -> list[Fault]:
    """The faults that pydantic found, at most MAX_FAULTS of them."""
    found = error.errors(include_url=False, include_context=False)[:MAX_FAULTS]
    return [
        Fault(
            location=_location((*within, *each["loc"])),
            message=_message(each["type"], each["msg"]),
            value_type="absent" if each["type"] == "missing" else json_type(each["input"]),
        )
        for each in found
    ]


def _message(kind: str, message: str) -> str:
    said = _MESSAGES.get(kind, message).replace(" after validation", "")
    if kind == "value_error":
        said = said.removeprefix("Value error, ")
    return said if len(said) <= _MAX_MESSAGE_CHARACTERS else said[:_MAX_MESSAGE_CHARACTERS] + "..."


def _location(parts: Sequence[str | int]) -> list[str | int]:
    # Names of unknown fields come from the client, of whatever length.
    return [part[:_MAX_NAME_CHARACTERS] if isinstance(part, str) else part for part in parts]


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

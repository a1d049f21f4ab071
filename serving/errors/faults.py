"""Faults of a request, one per field, as problem documents list them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

# pydantic makes all faults before any is read. What bounds their number: the fields of an object (see
# `serving.http.requests.json_bounds`), and FailFast on lists of objects.
MAX_FAULTS = 50
# Above this number they are not made: each takes 1 us.
_MAX_COUNTED = 10_000
_MAX_MESSAGE_CHARACTERS = 300
_MAX_NAME_CHARACTERS = 100

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

# Replacements for messages of pydantic that use terms of Python.
_MESSAGES = {
    "missing": "Field required",
    # Validation of parsed values has the words of Python.
    "dict_type": "Input should be an object",
    "list_type": "Input should be a valid array",
    "extra_forbidden": "Unknown field",
    "multiple_of": "Input should be an integer",
    "finite_number": "Input should be a finite number, not NaN or Infinity",
}


class Fault(BaseModel):
    """One fault of a request, with its location."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    location: list[str | int] = Field(
        description="Path to the fault: `body`, `path`, `query` or `header`, then names and positions.",
        examples=[["body", "instances", 0, "age"]],
    )
    message: str = Field(description="What is wrong.", examples=["Input should be a valid number"])
    value_type: ValueType = Field(description="JSON type of the value; `absent` if it is missing.")


def faults_of(error: ValidationError, *, within: tuple[str | int, ...] = ()) -> list[Fault]:
    """Return the faults that pydantic reports, at most MAX_FAULTS. `within` is the location of the validated value."""
    if error.error_count() > _MAX_COUNTED:
        return [Fault(location=fault_location(within), message=f"{error.error_count()} faults", value_type="object")]
    return [
        Fault(
            location=fault_location((*within, *each["loc"])),
            message=_message(each["type"], each["msg"]),
            value_type="absent" if each["type"] == "missing" else json_type(each["input"]),
        )
        for each in error.errors(include_url=False, include_context=False)[:MAX_FAULTS]
    ]


def json_fault(error: ValidationError) -> str:
    """Return why the validated bytes are not JSON, or an empty text if they are."""
    if error.error_count() > 1:
        return ""
    (only,) = error.errors(include_url=False, include_context=False, include_input=False)
    return only["msg"] if only["type"] == "json_invalid" else ""


def fault_location(parts: Sequence[str | int]) -> list[str | int]:
    """Return a location with shortened names: names of unknown fields come from the client."""
    return [part[:_MAX_NAME_CHARACTERS] if isinstance(part, str) else part for part in parts]


def json_type(value: object) -> ValueType:
    """Return the JSON type of a value that was read from JSON or from a file part."""
    return _JSON_TYPES.get(type(value), "object")


def _message(error_type: str, message: str) -> str:
    text = _MESSAGES.get(error_type, message).replace(" after validation", "")
    if error_type == "value_error":
        text = text.removeprefix("Value error, ")
    return text if len(text) <= _MAX_MESSAGE_CHARACTERS else text[:_MAX_MESSAGE_CHARACTERS] + "..."

"""The columns of a card, as the JSON schema of an instance or a prediction describes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from models.card import Column, Scalar

Kind = Literal["number", "integer", "boolean", "text"]
_KINDS: Mapping[str, Kind] = {"number": "number", "integer": "integer", "boolean": "boolean"}
Json = Mapping[str, Any]  # Any: JSON


def columns_of(schema: Json, example: Any, *, name: str) -> tuple[Column, ...]:  # Any: JSON
    """Return a column for each field of an object, or one with `name` for any other type.

    A field that is a list or an object is a column of text: JSON can hold it, and a cell of a table cannot.
    """
    definitions = schema.get("$defs", {})
    whole = _resolved(schema, definitions)
    fields = whole.get("properties")
    if whole.get("type") != "object" or not isinstance(fields, Mapping) or not fields:
        return (_column(name, whole, definitions, example, is_required=True),)
    examples = example if isinstance(example, Mapping) else {}
    required = whole.get("required", ())
    return tuple(
        _column(field, each, definitions, examples.get(field), is_required=field in required)
        for field, each in fields.items()
    )


def _column(name: str, schema: Json, definitions: Json, example: object, *, is_required: bool) -> Column:
    found = _resolved(schema, definitions)
    alternatives = [_resolved(each, definitions) for each in found.get("anyOf", ())]
    others = [each for each in alternatives if each.get("type") != "null"]
    type_ = others[0] if len(others) == 1 else found
    shown: Scalar = example if isinstance(example, str | int | float | bool) else None
    return Column(
        name,
        _KINDS.get(str(type_.get("type")), "text"),
        description=str(found.get("description", "")),
        required=is_required,
        nullable=len(others) < len(alternatives) or found.get("type") == "null",
        minimum=_number(type_.get("minimum")),
        maximum=_number(type_.get("maximum")),
        example=shown,
    )


def _resolved(schema: Json, definitions: Json) -> Json:
    """Return what a reference to a definition names, together with the members next to the reference."""
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema
    return {**definitions.get(reference.rpartition("/")[2], {}), **{k: v for k, v in schema.items() if k != "$ref"}}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None

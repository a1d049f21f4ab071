"""Describe values so that generators of clients write types that hold every one of them.

Without a format, Go clients read numbers as `float32` and integers as `int32`, and Java clients integers as `Integer`:
scores lose digits, and counts above 2^31 fail. A choice between JSON types becomes a class: Java clients do not compile
when a list is one of the types, and read the string "01" as a number; each caller wraps each value. The schema of such
a value has no `type`, so that generators take any JSON value. Go clients do not compile when the number of files is
bounded by `minItems` or `maxItems`. What a schema accepts does not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from serving.http.operation import JsonSchema

_INT32 = 2**31
_TYPES = ("string", "number", "boolean", "array", "object", "null")
_NUMBERS = {None, "double", "int32", "int64"}
# Keywords that concern values of one type only. A `pattern` without a type stops openapi-generator.
_BOUNDS = {"minLength", "maxLength", "minimum", "maximum"}
# Without a type, orval takes a schema with these for the schema of a list.
_BOUNDS_OF_LISTS = {"items", "minItems", "maxItems"}
_LABELS = {"type", "title", "description", "format"}
_EXAMPLES = {"example", "examples"}
# Values, and conditions, which describe no type.
_KEPT = {*_EXAMPLES, "default", "enum", "const", "required", "discriminator", "not", "if", "then", "else"}
_BY_NAME = {"properties", "patternProperties", "$defs"}


def with_client_types(part: Any) -> Any:  # Any: JSON
    """Return a part of the document, with the schemas in it described for generators."""
    if isinstance(part, dict):
        return {
            name: _described(value) if name == "schema" else value if name in _EXAMPLES else with_client_types(value)
            for name, value in part.items()
        }
    return [with_client_types(each) for each in part] if isinstance(part, list) else part


def with_client_schemas(schemas: JsonSchema) -> JsonSchema:
    """Return schemas by name, described for generators."""
    return {name: _described(schema) for name, schema in schemas.items()}


def _described(schema: Any) -> Any:  # Any: JSON, a schema or the value of a keyword
    if isinstance(schema, list):
        return [_described(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    parts: JsonSchema = {}
    for keyword, value in schema.items():
        if keyword in _BY_NAME:
            parts[keyword] = with_client_schemas(value)
        else:
            parts[keyword] = value if keyword in _KEPT else _described(value)
    return _without_choice(_with_count_of_files(_with_format(parts)))


def _with_format(schema: JsonSchema) -> JsonSchema:
    """Add the format of a number: a type that has all its values."""
    if {"format", "enum", "const"} & schema.keys():
        return schema
    if schema.get("type") == "number":
        return {**schema, "format": "double"}
    if schema.get("type") == "integer":
        is_small = schema.get("minimum", -_INT32 - 1) >= -_INT32 and schema.get("maximum", _INT32) < _INT32
        return {**schema, "format": "int32" if is_small else "int64"}
    return schema


def _with_count_of_files(schema: JsonSchema) -> JsonSchema:
    """Bound the number of files with `contains`."""
    items = schema.get("items")
    if not isinstance(items, dict) or items.get("format") != "binary" or not {"minItems", "maxItems"} & schema.keys():
        return schema
    count = {"contains": {}, "minContains": schema.get("minItems", 0)}
    if "maxItems" in schema:
        count["maxContains"] = schema["maxItems"]
    return {name: value for name, value in schema.items() if name not in ("minItems", "maxItems")} | count


def _without_choice(schema: JsonSchema) -> JsonSchema:
    """Return the schema of a value of several JSON types without a choice between types."""
    options: Sequence[JsonSchema] = schema.get("anyOf", [])
    if {"not", "if"} & schema.keys() or not all(map(_is_plain, options)):
        return schema
    types = [option["type"] for option in options]
    if len(set(types) - {"null"}) < 2 or len(set(types)) < len(types):
        return schema
    if {"integer", "number"} <= set(types):
        options = [option for option in options if option["type"] != "integer"]
        if any(option["type"] == "number" and option.keys() & _BOUNDS for option in options):
            return schema
    kept = {name: value for name, value in schema.items() if name != "anyOf"}
    return kept | _bounds(options) | {"not": {"type": _others(types)}}


def _bounds(options: Sequence[JsonSchema]) -> JsonSchema:
    """Return what bounds the values of each option."""
    keywords = [(name, value) for option in options for name, value in option.items()]
    bounds = {name: value for name, value in keywords if name in _BOUNDS}
    if any(option["type"] == "integer" for option in options):
        bounds["multipleOf"] = 1
    of_lists = {name: value for name, value in keywords if name in _BOUNDS_OF_LISTS}
    return bounds | ({"if": {"type": "array"}, "then": of_lists} if of_lists else {})


def _others(types: Sequence[str]) -> list[str]:
    """Return the JSON types that are none of `types`."""
    accepted = {"number" if kind == "integer" else kind for kind in types}
    return [kind for kind in _TYPES if kind not in accepted]


def _is_plain(option: Any) -> bool:  # Any: JSON
    """Return whether only its type, and bounds for values of its type, decide what an option accepts."""
    return (
        isinstance(option, dict)
        and option.get("type") in ("string", "integer", "number", "boolean", "array", "null")
        and option.keys() <= _BOUNDS | _BOUNDS_OF_LISTS | _LABELS
        and option.get("format") in _NUMBERS
    )

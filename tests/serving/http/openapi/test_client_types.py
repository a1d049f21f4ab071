"""Schemas as generators of clients need them: no type that loses values, and the same values as before."""

from __future__ import annotations

from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from pydantic import TypeAdapter

from serving.http.openapi.client_types import with_client_schemas, with_client_types
from serving.kinds.recommender.schemas import FeatureValue
from tests.serving.in_process_service import LocalService

VALUES: list[Any] = [
    "01", "long text", 7, 7.0, 7.5, 1e300, True, None, [], ["a"], [1], ["long text"], [[]], {}, {"type": "a"},
]  # fmt: skip


def described(schema: dict[str, Any]) -> Any:
    return with_client_schemas({"Value": schema})["Value"]


@pytest.mark.parametrize(
    ("schema", "format_"),
    [
        ({"type": "number"}, "double"),
        ({"type": "integer"}, "int64"),
        ({"type": "integer", "minimum": 0}, "int64"),
        ({"type": "integer", "maximum": 20}, "int64"),
        ({"type": "integer", "minimum": 0, "maximum": 2**31}, "int64"),
        ({"type": "integer", "minimum": 1, "maximum": 2**31 - 1}, "int32"),
        ({"type": "integer", "minimum": -(2**31) - 1, "maximum": 0}, "int64"),
        ({"type": "number", "format": "float"}, "float"),
        ({"type": "integer", "enum": [1, 2]}, None),
        ({"type": "string"}, None),
    ],
)
def test_the_format_of_a_number_has_all_its_values(schema: dict[str, Any], format_: str | None) -> None:
    assert described(schema).get("format") == format_


@pytest.mark.parametrize(
    "options",
    [
        [{"type": "string"}, {"type": "integer"}],
        [{"type": "string", "maxLength": 5}, {"type": "number"}, {"type": "null"}],
        [{"type": "string"}, {"type": "integer", "maximum": 5}, {"type": "number"}, {"type": "boolean"}],
        [{"type": "boolean"}, {"type": "array", "items": {"type": "string", "maxLength": 3}, "minItems": 1}],
        TypeAdapter(FeatureValue).json_schema()["anyOf"],
    ],
)
def test_a_value_of_several_types_is_any_value_to_generators(options: list[dict[str, Any]]) -> None:
    before = jsonschema.Draft202012Validator({"title": "Value", "anyOf": options})
    schema = described(before.schema)
    after = jsonschema.Draft202012Validator(schema)

    assert schema["title"] == "Value"
    assert not {"type", "anyOf", "items"} & schema.keys()
    assert [after.is_valid(value) for value in VALUES] == [before.is_valid(value) for value in VALUES]


@pytest.mark.parametrize(
    "options",
    [
        [{"type": "string"}, {"type": "null"}],
        [{"$ref": "#/components/schemas/Choice"}, {"type": "null"}],
        [{"type": "string", "format": "date-time"}, {"type": "integer"}],
        [{"type": "string", "pattern": "^a"}, {"type": "integer"}],
        [{"type": "string", "enum": ["a"]}, {"type": "boolean"}],
        [{"type": "object", "properties": {}}, {"type": "string"}],
        [{"type": "number", "maximum": 1}, {"type": "integer"}],
        [{"type": "string", "minLength": 5}, {"type": "string", "maxLength": 2}, {"type": "boolean"}],
        [{"type": ["string", "null"]}, {"type": "boolean"}],
        [{"type": "string"}, True],
    ],
)
def test_other_choices_are_kept(options: list[Any]) -> None:
    after = described({"anyOf": options})

    assert len(after["anyOf"]) == len(options)
    assert "not" not in after


@pytest.mark.parametrize("bounds", [{"minItems": 1}, {"maxItems": 2}, {"minItems": 1, "maxItems": 2}, {}])
def test_the_number_of_files_stays_bounded(bounds: dict[str, int]) -> None:
    schema = {"type": "array", "items": {"type": "string", "format": "binary"}, **bounds}
    after = described(schema)

    assert not {"minItems", "maxItems"} & after.keys()
    for count in range(4):
        is_valid = bounds.get("minItems", 0) <= count <= bounds.get("maxItems", 3)
        assert jsonschema.Draft202012Validator(after).is_valid(["file"] * count) == is_valid
    assert described({"type": "array", "items": {"type": "string"}, **bounds}).items() >= bounds.items()


def test_examples_and_properties_with_the_names_of_keywords_are_kept() -> None:
    properties = {"schema": {"type": "integer"}, "default": {"type": "number"}}
    body: dict[str, Any] = {
        "schema": {"type": "object", "properties": properties, "default": {"type": "integer"}},
        "examples": {"one": {"value": {"schema": {"type": "integer"}}}},
    }

    changed = with_client_types(body)

    assert changed["schema"]["properties"] == {
        "schema": {"type": "integer", "format": "int64"},
        "default": {"type": "number", "format": "double"},
    }
    assert changed["schema"]["default"] == body["schema"]["default"]
    assert changed["examples"] == body["examples"]


def test_no_number_of_the_document_is_without_a_format() -> None:
    document = LocalService().get("/docs.json").json()
    parameters = [
        parameter["schema"]
        for methods in document["paths"].values()
        for each in methods.values()
        for parameter in each.get("parameters", ())
    ]
    columns = document["components"]["schemas"]["Row"]["properties"]

    for schema in [*parameters, *columns.values()]:
        assert schema.get("type") not in ("number", "integer") or "enum" in schema or "format" in schema, schema
    assert columns["credit amount"]["format"] == "double"


@pytest.mark.parametrize("kind", ["ImageOutcome", "UserOutcome"])
def test_results_of_several_have_a_named_type(kind: str) -> None:
    schemas = LocalService().get("/docs.json").json()["components"]["schemas"]

    assert schemas[kind]["discriminator"]["propertyName"] == "status"
    assert len(schemas[kind]["oneOf"]) == 2

"""Tests of the request and response schemas that are generated from a card."""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from pydantic import ValidationError

from models.card import Column
from serving.kinds.tabular.answers.classes import ClassifiedRows
from serving.kinds.tabular.answers.estimates import EstimatedRows
from serving.kinds.tabular.schemas import TabularSchema, tabular_schema
from tests.serving.in_process_service import ROW, TABLE_CARD, LocalService, card

ODD_NAMES = (
    "with space", "dotted.name", "class", "def", "größe", "日本", "1st", "model_config", "model_fields", "__class__",
    "_private", "a-b", "$ref", "~/x", "", "self", "json", "copy", 'quo"te', "instances", "\U0001f35a",
)  # fmt: skip


def schema_of(*columns: Column, max_rows: int = 1000) -> TabularSchema:
    return tabular_schema(card("t", "tabular-classification", columns, classes=("a", "b")), max_rows=max_rows)


def accepts(schema: TabularSchema, row: object) -> Any:
    return schema.request.validate_json(json.dumps({"instances": [row]}))["instances"][0]


def fault(schema: TabularSchema, row: object) -> tuple[str, tuple[int | str, ...]]:
    with pytest.raises(ValidationError) as raised:
        accepts(schema, row)
    first = raised.value.errors()[0]
    return first["type"], first["loc"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_column_may_have_any_name(name: str) -> None:
    schema = schema_of(Column(name, "number", minimum=0, maximum=9), Column("other", "number"))

    assert accepts(schema, {name: 1.5, "other": 2}) == {name: 1.5, "other": 2.0}
    assert fault(schema, {"other": 2}) == ("missing", ("instances", 0, name))
    assert fault(schema, {name: "1.5", "other": 2}) == ("float_type", ("instances", 0, name))
    row = schema.request.json_schema()["$defs"]["Row"]
    assert set(row["properties"]) == {name, "other"}
    assert row["properties"][name]["description"] == "0 to 9 in the training data"


@pytest.mark.parametrize(
    ("column", "good", "bad"),
    [
        (Column("x", "number"), [1, 1.5, -0.0, 3.4e38, 0], ["1", True, None, [], {}, 3.5e38, -1e39]),
        (Column("x", "integer"), [1, 3.0, -5, 2**53 - 1], ["1", True, None, 1.5, 2**53, 1e300]),
        (Column("x", "boolean"), [True, False], [0, 1, "true", None, "yes"]),
        (Column("x", "category", categories=("u", "v")), ["u", "v"], ["w", "U", "", None, 0, True]),
        (Column("x", "category", categories=("u",), accepts_unknown=True), ["u", "w", ""], [None, 0, "w" * 10_001]),
        (Column("x", "text"), ["", "any", "\u0000"], [None, 1, "w" * 10_001]),
        (Column("x", "number", nullable=True), [None, 1.0], ["", "null", False]),
        (Column("x", "category", categories=("u",), nullable=True), [None, "u"], ["", "None"]),
    ],
)  # fmt: skip
def test_a_value_has_the_type_of_its_column(column: Column, good: list[object], bad: list[object]) -> None:
    schema = schema_of(column)
    for value in good:
        assert accepts(schema, {"x": value}) == {"x": value}
    for value in bad:
        assert fault(schema, {"x": value})[1] == ("instances", 0, "x"), value


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("kind", ["number", "integer"])
def test_nan_and_infinity_are_refused(literal: str, kind: Any) -> None:
    schema = schema_of(Column("x", kind, nullable=True))

    with pytest.raises(ValidationError) as raised:
        schema.request.validate_json(f'{{"instances": [{{"x": {literal}}}]}}')

    assert [each["loc"] for each in raised.value.errors()] == [("instances", 0, "x")]


def test_only_optional_columns_may_be_missing() -> None:
    schema = schema_of(Column("a", "number"), Column("b", "number", required=False, nullable=True))

    assert accepts(schema, {"a": 1}) == {"a": 1.0}
    assert fault(schema, {"b": 1}) == ("missing", ("instances", 0, "a"))
    assert schema.request.json_schema()["$defs"]["Row"]["required"] == ["a"]


def test_unknown_column_is_refused() -> None:
    assert fault(schema_of(Column("a", "number")), {"a": 1, "b": 2}) == ("extra_forbidden", ("instances", 0, "b"))


def test_the_number_of_rows_is_limited() -> None:
    schema = schema_of(Column("a", "number"), max_rows=2)

    assert len(schema.request.validate_python({"instances": [{"a": 1}] * 2})["instances"]) == 2
    for rows in ([], [{"a": 1}] * 3):
        with pytest.raises(ValidationError, match="instances"):
            schema.request.validate_python({"instances": rows})


@pytest.mark.parametrize(
    "column",
    [
        *TABLE_CARD.inputs,
        Column("n", "number"),
        Column("i", "integer", minimum=3.0, maximum=7.0),
        Column("b", "boolean"),
        Column("c", "category", categories=("u", "v")),
        Column("o", "category", categories=("u",), accepts_unknown=True),
        Column("t", "text"),
        Column("z", "number", nullable=True),
    ],
    ids=lambda column: column.name,
)
def test_the_example_row_is_accepted(column: Column) -> None:
    schema = schema_of(column)

    assert set(accepts(schema, schema.example_row)) == {column.name}


def test_descriptions_show_the_range_of_the_training_data() -> None:
    schema = schema_of(
        Column("a", "number", "Height in cm.", minimum=150, maximum=199.5, nullable=True),
        Column("b", "category", categories=("u", "v"), accepts_unknown=True),
    )

    properties = schema.request.json_schema()["$defs"]["Row"]["properties"]
    assert properties["a"]["description"] == "Height in cm. 150 to 199.5 in the training data. null when unknown"
    assert properties["b"]["description"] == "In the training data: u, v; other values count as unknown"


def test_response_schema_follows_the_task() -> None:
    assert schema_of(Column("a", "number")).answer is ClassifiedRows
    regression = card("t", "tabular-regression", (Column("a", "number"),))
    assert tabular_schema(regression, max_rows=1).answer is EstimatedRows


def test_many_classes_are_not_listed_in_the_schema() -> None:
    many = card("t", "tabular-classification", (Column("a", "number"),), classes=tuple(map(str, range(1000))))
    schema: dict[str, Any] = ClassifiedRows.model_json_schema()["$defs"]["ClassifiedRow"]

    tabular_schema(many, max_rows=1).form.refine(schema)

    assert "enum" not in schema["properties"]["prediction"]


def test_columns_that_the_model_does_not_have_are_left_out_on_request(local_service: LocalService) -> None:
    path, body = "/v1/tabular/predict", {"instances": [ROW | {"target": "good", "row number": 1, "list": [1]}]}
    plain = local_service.post(path, json={"instances": [ROW]}).json()["predictions"]

    assert local_service.post(f"{path}?extra=ignore", json=body).json()["predictions"] == plain
    for query in ("", "?extra=refuse"):
        refused = local_service.post(path + query, json=body)
        assert refused.status_code == 422
        assert "Unknown field" in refused.text
    wrong = {"instances": [{**ROW, "age": "x", "target": 1}]}
    assert local_service.post(f"{path}?extra=ignore", json=wrong).json()["errors"][0]["location"][-1] == "age"
    assert local_service.post(f"{path}?extra=keep", json=body).status_code == 422
    assert local_service.post(f"{path}?extra=ignore", json={**body, "more": 1}).status_code == 422


@pytest.mark.parametrize("text", ["2024-05-31", "2024-05-31T12:30:00Z", "31 May", ""])
def test_a_date_is_a_text_in_the_schema_and_has_one_of_two_formats(text: str) -> None:
    schema = schema_of(Column("joined", "date"))
    column = schema.request.json_schema()["$defs"]["Row"]["properties"]["joined"]
    formats = jsonschema.FormatChecker(formats=())
    formats.checks("date")(lambda value: len(value) == 10)
    formats.checks("date-time")(lambda value: len(value) == 20)

    # Generated clients have a type without values for a choice.
    assert (column["type"], "anyOf" in column) == ("string", False)
    is_valid = jsonschema.Draft202012Validator(column, format_checker=formats).is_valid(text)
    assert is_valid == text.startswith("2024")

"""Tests of the validation of JSON values by a schema: the place and the reason of a fault, never the value."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from models.errors import ArtifactInvalid
from models.python.json_schema import SchemaFault, SchemaValidator


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(9, le=9)


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


class Owner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]] = []
    home: Dog | None = None
    code: str = Field("ab", pattern="^[a-z]+$")
    size: float | None = None


VALIDATOR = SchemaValidator(TypeAdapter(Owner).json_schema())


@pytest.mark.parametrize(
    ("value", "location", "message"),
    [
        ({"hidden": 1}, ("hidden",), "Unknown field"),
        ({"home": {"kind": "dog"}}, ("home", "name"), "Field required"),
        ({"home": 7}, ("home",), "Input should be an object or null"),
        ({"pets": [{"kind": "cat", "lives": 10}]}, ("pets", 0, "lives"), "Input is greater than the maximum of 9"),
        ({"pets": [{"kind": "cat", "lives": "hidden"}]}, ("pets", 0, "lives"), "Input should be a valid integer"),
        ({"code": "HIDDEN"}, ("code",), 'Input does not match "^[a-z]+$"'),
        ({"size": "hidden"}, ("size",), "Input should be a valid number or null"),
        ({"size": float("nan")}, ("size",), "Input should be a valid number or null"),
        ([], (), "Input should be an object"),
    ],
)
def test_the_first_fault_is_named_without_the_value(value: Any, location: tuple[str | int, ...], message: str) -> None:
    fault = VALIDATOR.fault(value)
    assert fault == SchemaFault(location, message, is_absent=message == "Field required")


@pytest.mark.parametrize("value", [{}, {"size": 3}, {"pets": [{"kind": "cat"}]}, {"home": None}])
def test_valid_values_have_no_fault(value: Any) -> None:
    assert VALIDATOR.fault(value) is None


@pytest.mark.parametrize("schema", [{"type": 7}, {"$ref": "http://127.0.0.1:9/schema"}, {"pattern": "("}])
def test_a_schema_that_is_not_valid_is_refused_and_nothing_is_fetched(schema: dict[str, Any]) -> None:
    with pytest.raises(ArtifactInvalid):
        SchemaValidator(schema)

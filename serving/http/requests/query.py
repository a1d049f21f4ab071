"""Query strings: read into a type, and described as parameters of an operation. One type for both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from starlette.requests import Request

from serving.errors.exceptions import FieldFault
from serving.errors.faults import faults_of
from serving.http.operation import JsonSchema

T = TypeVar("T", bound=BaseModel)


class Query(BaseModel):
    """Base of every query string: no parameter that it does not know, none twice."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _as_bool(value: object) -> object:
    # "yes", "on" and "1" would be true as well, and are not what the document says.
    if isinstance(value, str) and value not in ("true", "false"):
        raise ValueError("should be true or false")
    return value


Flag = Annotated[bool, BeforeValidator(_as_bool)]


def read_query(request: Request, kind: type[T]) -> T:
    """The query string as `kind`. Raises FieldFault for its first fault."""
    given: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if name in given:
            raise FieldFault("given more than once", location=("query", name[:100]), value_type="array")
        given[name] = value
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        fault = faults_of(error, within=("query",))[0]
        location = tuple(fault.location)
        where = ".".join(str(part) for part in location[1:])
        raise FieldFault(f"{where}: {fault.message}", location=location, value_type=fault.value_type) from error


def parameters_of(kind: type[BaseModel], *, models: Sequence[str] = (), **examples: object) -> tuple[JsonSchema, ...]:
    """The parameters that `read_query` reads. `models` are the names that a parameter `model` may have."""
    schema = kind.model_json_schema()
    required = set(schema.get("required", ()))
    described = schema.get("properties", {})
    if models and "model" in described:
        described["model"] = {"description": described["model"]["description"], "type": "string", "enum": list(models)}
    return tuple(
        _parameter(name, each, is_required=name in required, example=examples.get(name))
        for name, each in described.items()
    )


def path_parameter(name: str, description: str, example: str) -> JsonSchema:
    """A parameter in the path that is an id."""
    # Longer ones are not in any table; the server would take them.
    schema = {"type": "string", "minLength": 1}
    described = f"{description} Percent-encoded: a slash is %2F."
    return {
        "name": name, "in": "path", "required": True, "description": described, "schema": schema, "example": example,
    }  # fmt: skip


def model_parameter(example: str) -> JsonSchema:
    """The parameter `name` in the path that is the name of a model."""
    return path_parameter("name", "Name of the model in the store.", example)


def _parameter(name: str, described: JsonSchema, *, is_required: bool, example: object) -> JsonSchema:
    schema = {key: value for key, value in described.items() if key not in ("title", "description")}
    options = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(options) == 1:
        # A query string has no null: a parameter is there or it is not.
        schema = {key: value for key, value in schema.items() if key not in ("anyOf", "default")} | options[0]
    parameter: JsonSchema = {"name": name, "in": "query", "required": is_required, "schema": schema}
    if schema.pop("deprecated", False):
        parameter["deprecated"] = True
    if "description" in described:
        parameter["description"] = described["description"]
    if example is not None:
        parameter["example"] = example
    return parameter

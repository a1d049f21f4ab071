"""Query strings: one type validates them, and describes them as parameters of an operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeVar, get_origin
from urllib.parse import unquote_plus

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from starlette.requests import Request

from serving.errors.exceptions import FieldFault
from serving.errors.faults import faults_of
from serving.http.operation import JsonSchema

T = TypeVar("T", bound=BaseModel)
MAX_PARAMETERS = 100


class Query(BaseModel):
    """The base of every query string. Unknown and repeated parameters are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _as_bool(value: object) -> object:
    # Pydantic also accepts "yes", "on" and "1", which the document does not allow.
    if isinstance(value, str) and value not in ("true", "false"):
        raise ValueError("should be true or false")
    return value


Flag = Annotated[bool, BeforeValidator(_as_bool)]


def read_query(request: Request, query_type: type[T]) -> T:
    """Return the query string as `query_type`. Raises FieldFault for its first fault."""
    if request.scope["query_string"].count(b"&") >= MAX_PARAMETERS:
        message = f"the query string has more than {MAX_PARAMETERS} parameters"
        raise FieldFault(message, location=("query",), value_type="array")
    values: dict[str, str | tuple[str, ...]] = {}
    for pair in filter(None, request.scope["query_string"].decode("latin-1").split("&")):
        encoded_name, _, encoded = pair.partition("=")
        name = unquote_plus(encoded_name)
        if name in values:
            raise FieldFault("given more than once", location=("query", name[:100]), value_type="array")
        field = query_type.model_fields.get(name)
        if field is not None and get_origin(field.annotation) is tuple:
            # Split before it is decoded: a comma of a value is sent as %2C (RFC 6570, 3.2.8).
            values[name] = tuple(unquote_plus(part) for part in encoded.split(",") if part)
        else:
            values[name] = unquote_plus(encoded)
    try:
        return query_type.model_validate(values)
    except ValidationError as error:
        fault = faults_of(error, within=("query",))[0]
        location = tuple(fault.location)
        name = ".".join(str(part) for part in location[1:])
        raise FieldFault(f"{name}: {fault.message}", location=location, value_type=fault.value_type) from error


def parameters_of(
    query_type: type[BaseModel], *, models: Sequence[str] = (), **examples: object
) -> tuple[JsonSchema, ...]:
    """Return the parameters that `read_query` reads. `models` are the values that a parameter `model` may have."""
    schema = query_type.model_json_schema()
    required = set(schema.get("required", ()))
    described = schema.get("properties", {})
    if models and "model" in described:
        described["model"] = {"description": described["model"]["description"], "type": "string", "enum": list(models)}
    return tuple(
        _parameter(name, property_, is_required=name in required, example=examples.get(name))
        for name, property_ in described.items()
    )


def path_parameter(name: str, description: str, example: str) -> JsonSchema:
    """Return a parameter in the path that is an id."""
    # Without a maximum length: a longer id is unknown, not invalid.
    schema = {"type": "string", "minLength": 1}
    described = f"{description} Percent-encoded: a slash is %2F."
    return {
        "name": name, "in": "path", "required": True, "description": described, "schema": schema, "example": example,
    }  # fmt: skip


def model_parameter(example: str) -> JsonSchema:
    """Return the parameter `name` in the path, which is the name of a model."""
    return path_parameter("name", "Name of the model in the store.", example)


def _parameter(name: str, described: JsonSchema, *, is_required: bool, example: object) -> JsonSchema:
    schema = {key: value for key, value in described.items() if key not in ("title", "description")}
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) == 1:
        # A query string has no null: a parameter is present or absent.
        schema = {key: value for key, value in schema.items() if key not in ("anyOf", "default")} | options[0]
    parameter: JsonSchema = {"name": name, "in": "query", "required": is_required, "schema": schema}
    if schema.pop("deprecated", False):
        parameter["deprecated"] = True
    if "description" in described:
        parameter["description"] = described["description"]
    if example is not None:
        parameter["example"] = example
    return parameter

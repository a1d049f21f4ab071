"""Requests and responses of the user's own classes. The card has the schemas of an instance and a prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Discriminator, Field, create_model

from serving.http.operation import JsonSchema
from serving.kinds.responses import ItemProblem
from serving.schemas.fields import InferenceTime, ModelUsed, Request, Response

_COMPONENTS: Final = "#/components/schemas/"
_DEFINITIONS: Final = "#/$defs/"


class PythonInstances(Request):
    """Instances to predict."""

    # Strict types would refuse nothing here: an instance is validated by the schema of the card.
    model_config = ConfigDict(extra="forbid", frozen=True)

    instances: Annotated[list[Any], Field(min_length=1, description="The instances to predict.")]


class PythonPredictions(Response):
    """One prediction per instance, in the order of the request."""

    model: ModelUsed
    predictions: list[Any]
    inference_time_ms: InferenceTime


class PythonResult(Response):
    """The prediction for one instance of a stream."""

    status: Literal["ok"] = "ok"
    index: int = Field(ge=0, description="Position of the instance in the request.")
    prediction: Any


class PythonFailure(Response):
    """Why one instance of a stream has no prediction. It does not affect the others."""

    status: Literal["error"] = "error"
    index: int = Field(ge=0, description="Position of the instance in the request.")
    error: ItemProblem


PythonItem = Annotated[PythonResult | PythonFailure, Discriminator("status")]


def request_type(max_instances: int) -> type[PythonInstances]:
    """Return the request of the call: up to `max_instances` instances."""
    instances = Annotated[
        list[Any], Field(min_length=1, max_length=max_instances, description="The instances to predict.")
    ]
    return create_model(
        PythonInstances.__name__, __base__=PythonInstances, __doc__=PythonInstances.__doc__, instances=(instances, ...)
    )


def add_schema(components: dict[str, JsonSchema], schema: Mapping[str, Any], *, prefix: str) -> JsonSchema:
    """Add the definitions of a card's schema to the components, with names that begin with `prefix`.

    Returns what an instance or a prediction is: a reference to its component, or the schema itself.
    """
    definitions = schema.get("$defs", {})
    for name, definition in definitions.items():
        components[f"{prefix}.{name}"] = _moved(definition, prefix)
    own: JsonSchema = _moved({name: value for name, value in schema.items() if name != "$defs"}, prefix)
    if "title" not in own or "$ref" in own:
        return own
    name = f"{prefix}.{_component_name(own['title'])}"
    components[name] = own
    return {"$ref": _COMPONENTS + name}


def _component_name(title: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in title)


def _moved(schema: Any, prefix: str) -> Any:  # Any: JSON
    """Return a schema whose references name components."""
    if isinstance(schema, list):
        return [_moved(each, prefix) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {name: _moved_member(name, value, prefix) for name, value in schema.items()}


def _moved_member(name: str, value: Any, prefix: str) -> Any:  # Any: JSON
    if name in ("const", "default", "enum", "examples"):
        return value
    if name == "$ref" and isinstance(value, str):
        return _moved_reference(value, prefix)
    if name == "mapping" and isinstance(value, dict) and all(isinstance(each, str) for each in value.values()):
        return {key: _moved_reference(each, prefix) for key, each in value.items()}
    return _moved(value, prefix)


def _moved_reference(reference: str, prefix: str) -> str:
    if not reference.startswith(_DEFINITIONS):
        return reference
    return f"{_COMPONENTS}{prefix}.{reference.removeprefix(_DEFINITIONS)}"

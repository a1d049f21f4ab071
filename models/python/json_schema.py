"""Validation of JSON values by a JSON Schema, with faults that name the place and the reason, and never the value.

The gateway validates requests with the schema in the card, so that it does not import the user's class. The runner
validates what the class returns with the same code, so that every response fits the published schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jsonschema_rs

from models.errors import ArtifactInvalid

_TYPES: Final[Mapping[str, str]] = {
    "string": "a valid string",
    "integer": "a valid integer",
    "number": "a valid number",
    "boolean": "a valid boolean",
    "array": "a valid array",
    "object": "an object",
    "null": "null",
}
_SHOWN = 100


@dataclass(frozen=True, slots=True)
class SchemaFault:
    """What is wrong with a value: the location inside it, and a message for clients."""

    location: tuple[str | int, ...]
    message: str
    is_absent: bool = False


class SchemaValidator:
    """Validates JSON values by one schema. Raises ArtifactInvalid for a schema that is not valid."""

    def __init__(self, schema: Mapping[str, Any]) -> None:  # Any: JSON
        try:
            # Offline: a reference to another document would be fetched.
            self._validator = jsonschema_rs.validator_for(dict(schema), offline=True, mask="Input")
        except ValueError as error:
            raise ArtifactInvalid("the JSON schema of the model's type is not valid") from error

    def fault(self, value: Any) -> SchemaFault | None:  # Any: JSON
        """Return the first fault of `value`, or None."""
        if self._validator.is_valid(value):
            return None
        return _fault(next(iter(self._validator.iter_errors(value))))


def _fault(error: jsonschema_rs.ValidationError) -> SchemaFault:
    location = tuple(error.instance_path)
    match error.kind.name, error.kind.value:
        case "required", str(name):
            return SchemaFault((*location, name), "Field required", is_absent=True)
        case "additionalProperties" | "unevaluatedProperties", [str(name), *_]:
            return SchemaFault((*location, name[:_SHOWN]), "Unknown field")
        case "propertyNames", _:
            return SchemaFault(location, "Input has a name of a field that is not permitted")
        case "type", _:
            return SchemaFault(location, f"Input should be {_expected_type(error)}")
        case "anyOf" | "oneOf", [*alternatives] if alternatives:
            return _nearest(error, alternatives)
    return SchemaFault(location, error.message)


def _expected_type(error: jsonschema_rs.ValidationError) -> str:
    types = error.kind.as_dict().get("types") or error.kind.value
    names = [types] if isinstance(types, str) else list(types)
    return " or ".join(_TYPES.get(name, name) for name in names)


def _nearest(error: jsonschema_rs.ValidationError, alternatives: list[Any]) -> SchemaFault:  # Any: lists of errors
    """Return the fault of the alternative that fails deepest, or one message for all where none is meant."""
    faults = [_fault(errors[0]) for errors in alternatives if isinstance(errors, list) and errors]
    deepest = max(faults, key=lambda fault: len(fault.location), default=None)
    if deepest is not None and len(deepest.location) > len(error.instance_path):
        return deepest
    prefix = "Input should be "
    accepted = [fault.message.removeprefix(prefix) for fault in faults if fault.message.startswith(prefix)]
    if faults and len(accepted) == len(faults):
        return SchemaFault(tuple(error.instance_path), prefix + " or ".join(accepted))
    # All but "null" name the same field: the message of the first is the useful one.
    others = [fault for fault in faults if fault.message != f"{prefix}null"]
    return others[0] if len(others) == 1 else SchemaFault(tuple(error.instance_path), "Input fits no alternative")

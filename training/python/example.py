"""The example of a class: one row that it answers, for the warm-up, the documents and the check before it is saved."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from models.errors import DataInvalid
from models.python.signature import Signature
from models.python.user_class import dump

_MISSING = object()


def example_of(found: type[Any], signature: Signature, given: str) -> Any:  # Any: JSON
    """Return the example as JSON: `given`, `example` of the class, or one made of defaults and examples of the fields.

    Raises DataInvalid for no example, and for one that does not fit the input type.
    """
    value: Any = _given(given) if given else getattr(found, "example", _MISSING)
    if value is _MISSING:
        value = _made(signature.input_schema)
    if value is _MISSING:
        raise DataInvalid(
            f"class '{found.__name__}' has no example; add `example = ...` to the class, or --example with its JSON"
        )
    try:
        read = signature.input.validate_json(json.dumps(value)) if given else signature.input.validate_python(value)
        return dump(signature.input, read)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        at = f" at '{where}'" if where else ""
        raise DataInvalid(f"the example does not fit the input type of predict{at}: {first['msg']}") from error


def _given(text: str) -> Any:  # Any: JSON
    try:
        return json.loads(Path(text[1:]).read_bytes() if text.startswith("@") else text)
    except OSError as error:
        raise DataInvalid(f"--example {text}: {error.strerror}") from error
    except ValueError as error:
        raise DataInvalid(f"--example is not JSON: {error}; text needs quotes: --example '\"text\"'") from error


def _made(schema: Mapping[str, Any]) -> Any:  # Any: JSON
    if examples := schema.get("examples"):
        return examples[0]
    fields = schema.get("properties")
    if not isinstance(fields, Mapping):
        return _MISSING
    row = {}
    for name, field in fields.items():
        if examples := field.get("examples"):
            row[name] = examples[0]
        elif "default" in field:
            row[name] = field["default"]
        elif name in schema.get("required", ()):
            return _MISSING
    return row

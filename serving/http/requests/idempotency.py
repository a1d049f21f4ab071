"""The header `Idempotency-Key`, which makes a repeated request safe: the operation is not executed twice."""

from __future__ import annotations

import re

from starlette.requests import Request

from serving.errors.exceptions import FieldFault
from serving.http.operation import JsonSchema

MAX_KEY_CHARACTERS = 255
_KEY = re.compile(rf"[!-~]{{1,{MAX_KEY_CHARACTERS}}}")


def read_idempotency_key(request: Request) -> str | None:
    """Return the key of a request, or None. Raises FieldFault."""
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        message = f"should have 1 to {MAX_KEY_CHARACTERS} characters of ASCII, and no blank"
        raise FieldFault(message, location=("header", "Idempotency-Key"), value_type="string")
    return key


def idempotency_parameter(description: str) -> JsonSchema:
    """Return the header as a parameter of an operation."""
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARACTERS, "pattern": "^[!-~]+$"},
    }

"""Put the versions that answer now into the examples of the document, so that a client can send what it copies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving.schemas.fields import EXAMPLE_MODEL, EXAMPLE_VERSION

_NAMES = ("name", "model_name")


def with_served_versions(document: Any, versions: Mapping[str, str]) -> Any:  # Any: JSON
    """Return `document` with the names of a served model and its version for EXAMPLE_MODEL and EXAMPLE_VERSION.

    `versions` are the versions that answer, by the name and by the alias of a model. Without any, nothing is changed.
    """
    if not versions:
        return document
    return _replaced(document, versions, next(iter(versions)))


def _replaced(value: Any, versions: Mapping[str, str], model: str) -> Any:  # Any: JSON
    """Return `value`, which is an example of `model` unless it names another one."""
    if isinstance(value, dict):
        named = next(
            (value[name] for name in _NAMES if isinstance(value.get(name), str) and value[name] in versions), ""
        )
        model = named or model
        return {_replaced(key, versions, model): _replaced(each, versions, model) for key, each in value.items()}
    if isinstance(value, list):
        return [_replaced(each, versions, model) for each in value]
    if isinstance(value, str):
        # Lines of NDJSON and events are text.
        return model if value == EXAMPLE_MODEL else value.replace(EXAMPLE_VERSION, versions[model])
    return value

"""The user's class and its types: `predict(self, rows: list[Input]) -> list[Output]`.

Input and output are what pydantic can describe: models, dataclasses, TypedDicts, `str`, `int`, and containers of them.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

from models.errors import ArtifactInvalid, text_of

EXPECTED: Final = "predict(self, rows: list[Input]) -> list[Output]"
# What a schema may say without changing which values it accepts.
_ANNOTATIONS: Final = ("title", "description", "examples", "deprecated")

Json = dict[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True)
class Signature:
    """The types of one row of a class, and their JSON schemas."""

    input: TypeAdapter[Any]
    output: TypeAdapter[Any]
    input_schema: Json
    output_schema: Json


def signature_of(found: type[Any]) -> Signature:
    """Return the types of a class. Raises ArtifactInvalid for a class without them."""
    name = f"class '{found.__name__}'"
    predict = getattr(found, "predict", None)
    if not callable(predict):
        raise ArtifactInvalid(f"{name} has no method predict; expected: {EXPECTED}")
    if inspect.iscoroutinefunction(predict) or inspect.isasyncgenfunction(predict):
        raise ArtifactInvalid(f"predict of {name} has to be a plain function, not async: it runs in a thread")
    taken, returned = _annotations(predict, name)
    try:
        input_type, output_type = TypeAdapter(taken), TypeAdapter(returned)
        return Signature(
            input_type,
            output_type,
            input_type.json_schema(mode="validation"),
            output_type.json_schema(mode="serialization"),
        )
    except PydanticUserError as error:
        raise ArtifactInvalid(
            f"the types of predict of {name} have no JSON schema: {error.message.splitlines()[0]}"
        ) from error


def is_same_schema(one: object, other: object) -> bool:
    """Return whether two JSON schemas accept the same values, as far as their keywords tell. Texts do not count."""
    return _without_texts(one) == _without_texts(other)


def _annotations(predict: Callable[..., Any], name: str) -> tuple[Any, Any]:  # Any: types
    parameters = list(inspect.signature(predict).parameters.values())[1:]
    required = [each for each in parameters if each.default is inspect.Parameter.empty]
    if len(required) != 1 or required[0].kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
        raise ArtifactInvalid(f"predict of {name} has to take one list; expected: {EXPECTED}")
    try:
        hints = typing.get_type_hints(predict, include_extras=True)
    except Exception as error:
        raise ArtifactInvalid(f"the annotations of predict of {name} cannot be read: {text_of(error)}") from error
    taken = _row_type(hints.get(required[0].name))
    returned = _row_type(hints.get("return"))
    if taken is None or returned is None:
        which = "takes" if taken is None else "returns"
        raise ArtifactInvalid(f"predict of {name} does not say what it {which}; expected: {EXPECTED}")
    return taken, returned


def _row_type(annotation: Any) -> Any:  # Any: types
    """Return X of `list[X]` or `Sequence[X]`, or None where nothing is said about the rows."""
    if typing.get_origin(annotation) not in (list, Sequence):
        return None
    (row,) = typing.get_args(annotation)
    return None if row is Any or row is object or isinstance(row, typing.TypeVar) else row


def _without_texts(schema: object) -> object:
    if isinstance(schema, list):
        return [_without_texts(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        name: _without_texts(value)
        for name, value in schema.items()
        # A property may have such a name, and is an object.
        if name not in _ANNOTATIONS or isinstance(value, Mapping)
    }

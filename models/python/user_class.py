"""One instance of the user's class: rows as JSON values in, results as JSON values out, both validated."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from models.errors import ArtifactInvalid, InvalidInput, PredictionFailed, text_of
from models.python.json_schema import SchemaValidator
from models.python.peers import Peers
from models.python.signature import Signature
from models.python.worker_thread import WorkerThread

log = logging.getLogger("makunouchi.python")

_LONGEST_MESSAGE: Final = 300


class UserClass:
    """An instance of a class, made and called in one thread. Safe to use from several threads."""

    def __init__(self, found: type[Any], signature: Signature, weights: Path, peers: Peers | None = None) -> None:
        """Make the instance and have it load `weights`; `peers` becomes its attribute `models`.

        Raises ArtifactInvalid, and what its `load` raises.
        """
        self.name = f"{found.__module__}:{found.__qualname__}"
        self._signature = signature
        self._results = SchemaValidator(signature.output_schema)
        self._thread = WorkerThread(self.name)
        self._instance = self._thread.run(lambda: _loaded(found, weights, peers))

    def predict(self, rows: Sequence[Any]) -> list[Any]:  # Any: JSON
        """Return one result per row.

        Raises InvalidInput for a row that does not fit the type, with its position first in the location; also what the
        class raises, and PredictionFailed for another number of results and for one that does not fit the type.
        """
        values = [self._value(position, row) for position, row in enumerate(rows)]
        results = self._thread.run(lambda: self._instance.predict(values))
        if not isinstance(results, list | tuple):
            raise PredictionFailed(f"predict of {self.name} must return a list, and returned {type(results).__name__}")
        if len(results) != len(rows):
            raise PredictionFailed(f"predict of {self.name} returned {len(results)} results for {len(rows)} rows")
        return [self._result(result) for result in results]

    def _value(self, position: int, row: Any) -> Any:  # Any: JSON, and the user's type
        try:
            # As JSON, because the strict types of Python and of JSON differ: dates, tuples.
            return self._signature.input.validate_json(orjson.dumps(row))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            message = str(first["msg"])[:_LONGEST_MESSAGE]
            raise InvalidInput(message, location=(position, *first["loc"])) from None

    def _result(self, result: Any) -> Any:  # Any: the user's type, and JSON
        try:
            encoded = dump(self._signature.output, self._signature.output.validate_python(result))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            fault = f"{_field(first['loc'])} is {type(first['input']).__name__} ({first['type']})"
            raise self._invalid(fault) from None
        except (PydanticSerializationError, UnicodeError):
            raise self._invalid(f"{type(result).__name__} cannot be written as JSON") from None
        if (found := self._results.fault(encoded)) is not None:
            raise self._invalid(f"{_field(found.location)}: {found.message}")
        return encoded

    def _invalid(self, fault: str) -> PredictionFailed:
        return PredictionFailed(f"predict of {self.name} returned an invalid result: {fault}")


def dump(adapter: TypeAdapter[Any], value: Any) -> Any:  # Any: the user's type, and JSON
    """Return a value as JSON. NaN and infinity become null, which the schema of a number refuses."""
    return orjson.loads(adapter.dump_json(value, by_alias=True, warnings=False))


def _loaded(found: type[Any], weights: Path, peers: Peers | None) -> Any:  # Any: the user's class
    try:
        instance = found()
    except TypeError as error:
        raise ArtifactInvalid(f"class '{found.__name__}' cannot be made without arguments: {text_of(error)}") from error
    if peers is not None:
        instance.models = peers
    load = getattr(instance, "load", None)
    if load is not None:
        load(weights)
    return instance


def _field(location: Sequence[str | int]) -> str:
    return f"field '{'.'.join(str(part) for part in location)}'" if location else "the result"

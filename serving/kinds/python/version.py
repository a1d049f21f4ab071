"""One version of a user's own class in the gateway: its requests by the schemas of the card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from models.card import Card, CodeInterface
from models.errors import ArtifactInvalid, InvalidInput, PredictionFailed
from models.python.json_schema import SchemaValidator
from models.python.model import PREDICTION
from serving.errors.exceptions import FieldFault, Malformed
from serving.errors.faults import json_type
from serving.kinds.python.schemas import PythonPredictions, request_type
from serving.runners.interface import ModelRef

Json = Any  # JSON, typed by the card


class PythonVersion:
    """The request type of one card. The user's code is not imported here."""

    def __init__(self, card: Card, *, max_instances: int) -> None:
        if card.code is None:
            raise ArtifactInvalid(f"the card of '{card.name}' names no class")
        self.card = card
        self.code: CodeInterface = card.code
        self.max_instances = max_instances
        self.request_type = request_type(max_instances)
        self._schema = SchemaValidator(card.code.input)

    def read(self, body: bytes | bytearray) -> list[Json]:
        """Return the instances of a JSON body. Raises pydantic's ValidationError, InvalidInput, Malformed."""
        try:
            tree = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            # It says where the fault is. It accepts NaN, which is not JSON.
            self.request_type.model_validate_json(body)
            raise Malformed("the body is not JSON: it has NaN, Infinity or a number that is out of range") from error
        return self.check(self.request_type.model_validate(tree).instances)

    def check(self, instances: Sequence[Json]) -> list[Json]:
        """Return instances that fit the schema. Raises InvalidInput with the location of the first fault."""
        if not 1 <= len(instances) <= self.max_instances:
            message = f"1 to {self.max_instances} instances may be sent at a time, not {len(instances)}"
            raise InvalidInput(message, location=("body", "instances"))
        for position, instance in enumerate(instances):
            fault = self._schema.fault(instance)
            if fault is not None:
                location = ("body", "instances", position, *fault.location)
                value_type = "absent" if fault.is_absent else json_type(value_at(instance, fault.location))
                raise FieldFault(fault.message, location=location, value_type=value_type)
        return list(instances)

    def predictions(self, values: Sequence[Json], instances: int) -> list[Json]:
        """Return the predictions in the answers of the runner. Raises PredictionFailed."""
        if len(values) != instances or not all(PREDICTION in value for value in values):
            raise PredictionFailed(f"{len(values)} answers for {instances} instances, or some have no prediction")
        return [value[PREDICTION] for value in values]


@dataclass(frozen=True, slots=True)
class Predictions:
    """The response to one request: one prediction per instance."""

    version: PythonVersion
    model: ModelRef
    predictions: list[Json]
    inference_time_ms: float

    def to_json(self) -> bytes:
        """Return the body of the response."""
        return orjson.dumps(self._content())

    def to_response(self) -> PythonPredictions:
        """Return the response as its pydantic type."""
        return PythonPredictions.model_validate(self._content())

    def _content(self) -> dict[str, Json]:
        return {
            "model": {"name": self.model.name, "version": self.model.version},
            "predictions": self.predictions,
            "inference_time_ms": self.inference_time_ms,
        }


def value_at(value: Json, location: Sequence[str | int]) -> Json:
    """Return the part of a JSON value at `location`, or None where there is none."""
    for part in location:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def located(error: InvalidInput, instances: Sequence[Json]) -> InvalidInput:
    """Return `error` of the runner, which begins with the position of an instance, with its location in the request."""
    match error.location:
        case (int(position), *rest) if position < len(instances):
            value_type = json_type(value_at(instances[position], rest))
            return FieldFault(str(error), location=("body", "instances", position, *rest), value_type=value_type)
    return InvalidInput(str(error), location=("body", "instances"))

"""One version of a tabular model in the gateway: the types of its requests, and the codec of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import TypeAdapter

from models.card import Card
from models.errors import InvalidInput, PredictionFailed
from models.tabular.row_encoder import RowEncoder
from serving.errors.exceptions import FieldFault
from serving.errors.faults import json_type
from serving.http.requests.json_bounds import DEFAULT_BOUNDS, validate_many
from serving.kinds.tabular.schemas import EstimatedRows, Row, TabularAnswer, TabularSchema, tabular_schema
from serving.runners.interface import ModelRef

Instances = Sequence[Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Predictions:
    """The response to one request: one prediction per row, as JSON objects."""

    schema: TabularSchema
    model: ModelRef
    rows: list[dict[str, Any]]  # Any: JSON
    inference_time_ms: float

    def to_json(self) -> bytes:
        """Return the body of the response."""
        return orjson.dumps(self._content())

    def to_response(self) -> TabularAnswer:
        """Return the response as its pydantic type."""
        response: TabularAnswer = TypeAdapter(self.schema.answer).validate_python(self._content())
        return response

    def _content(self) -> dict[str, Any]:
        return {
            "model": {"name": self.model.name, "version": self.model.version},
            "predictions": self.rows,
            "inference_time_ms": self.inference_time_ms,
        }


class TabularVersion:
    """The request types, the row encoder and the response codec of one card."""

    def __init__(self, card: Card, *, max_rows: int) -> None:
        self.card = card
        self.schema = tabular_schema(card, max_rows=max_rows)
        self._encoder = RowEncoder(card)
        self._bounds = DEFAULT_BOUNDS.allowing(names=2 * len(card.inputs))

    def read(self, request: bytes | bytearray | Instances) -> list[Row]:
        """Return the validated rows of a JSON body or of `instances`.

        Raises pydantic's ValidationError, and InvalidInput for a row of far too many fields.
        """
        if isinstance(request, bytes | bytearray):
            return validate_many(self.schema.request, request, self._bounds)["instances"]
        return self.schema.request.validate_python({"instances": list(request)})["instances"]

    def encode(self, rows: list[Row]) -> NDArray[np.float64]:
        """Return float64 (N, encoded columns). Raises InvalidInput with the location `(row, column)`."""
        return self._encoder.encode(rows)

    def predictions(self, values: NDArray[np.floating], rows: int) -> list[dict[str, Any]]:
        """Return one JSON object per row of `values`. Raises PredictionFailed for values of another shape, or NaN."""
        if len(values) != rows or not np.isfinite(values).all():
            raise PredictionFailed(f"{values.shape} values for {rows} rows, or some are not finite")
        if self.schema.answer is EstimatedRows:
            # More digits would show the rounding of the model's arithmetic.
            digits = 7 if values.dtype == np.float32 else 12
            return [{"prediction": float(f"{value:.{digits}g}")} for value in values[:, 0].tolist()]
        classes = self.card.classes
        if values.shape[1] != len(classes):
            raise PredictionFailed(f"{values.shape[1]} probabilities for {len(classes)} classes")
        best = values.argmax(axis=1).tolist()
        # float32 as float64 would show digits that the model did not compute.
        shares = np.clip(values.astype(np.float64), 0.0, 1.0).round(6).tolist()
        return [
            {"prediction": classes[place], "probabilities": dict(zip(classes, row, strict=True))}
            for place, row in zip(best, shares, strict=True)
        ]


def located(error: InvalidInput, rows: Sequence[Row]) -> InvalidInput:
    """Return `error` of the row encoder with its location in the request."""
    match error.location:
        case (int(index), str(name)):
            value_type = json_type(rows[index].get(name))
            return FieldFault(str(error), location=("body", "instances", index, name), value_type=value_type)
    return InvalidInput(str(error), location=("body", "instances"))

"""One version of a tabular model in the gateway: the types of its requests, and the codec of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, TypeAdapter

from models.card import Card
from models.errors import InvalidInput, PredictionFailed
from models.tabular.answers import answer_width
from models.tabular.row_encoder import RowEncoder
from serving.errors.exceptions import FieldFault
from serving.errors.faults import json_type
from serving.http.requests.json_bounds import DEFAULT_BOUNDS, validate_many
from serving.kinds.tabular.schemas import (
    ExtraColumns,
    Row,
    TabularSchema,
    tabular_request,
    tabular_schema,
)
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

    def to_response(self) -> BaseModel:
        """Return the response as its pydantic type."""
        return self.schema.answer.model_validate(self._content())

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
        self._width = answer_width(card)
        self._bounds = DEFAULT_BOUNDS.allowing(names=2 * len(card.inputs))
        self._max_rows = max_rows

    @cached_property
    def _lenient_request(self) -> TypeAdapter[dict[Literal["instances"], list[Row]]]:
        return tabular_request(self.card, max_rows=self._max_rows, extra="ignore")

    def read(self, request: bytes | bytearray | Instances, extra: ExtraColumns = "refuse") -> list[Row]:
        """Return the validated rows of a JSON body or of `instances`.

        Columns that the model does not have are refused, or with `extra` `ignore` left out. Raises pydantic's
        ValidationError, and InvalidInput for a row of far too many fields.
        """
        request_type = self.schema.request if extra == "refuse" else self._lenient_request
        if isinstance(request, bytes | bytearray):
            return validate_many(request_type, request, self._bounds)["instances"]
        return request_type.validate_python({"instances": list(request)})["instances"]

    def encode(self, rows: list[Row]) -> NDArray[np.float64]:
        """Return float64 (N, encoded columns). Raises InvalidInput with the location `(row, column)`."""
        return self._encoder.encode(rows)

    def predictions(self, values: NDArray[np.floating], rows: int) -> list[dict[str, Any]]:
        """Return one JSON object per row of `values`. Raises PredictionFailed for values of another shape, or NaN."""
        if values.shape != (rows, self._width) or not np.isfinite(values).all():
            raise PredictionFailed(f"{values.shape} values for {rows} rows of {self._width}, or some are not finite")
        return self.schema.form.rows(values)


def located(error: InvalidInput, rows: Sequence[Row]) -> InvalidInput:
    """Return `error` of the row encoder with its location in the request."""
    match error.location:
        case (int(index), str(name)):
            value_type = json_type(rows[index].get(name))
            return FieldFault(str(error), location=("body", "instances", index, name), value_type=value_type)
    return InvalidInput(str(error), location=("body", "instances"))

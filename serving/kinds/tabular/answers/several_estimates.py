"""Answers of a regression with several targets: a number for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from serving.http.operation import JsonSchema
from serving.kinds.tabular.answers.form import AnswerForm, AnswerRow, estimate
from serving.open_inference.schemas import TensorMetadata, tensor_metadata
from serving.open_inference.tensors import Tensor
from serving.schemas.fields import InferenceTime, ModelUsed, Response
from serving.versions.shadow_comparison import Comparison, compare_numbers


class EstimatesRow(Response):
    """The estimates for one row."""

    prediction: dict[str, float] = Field(description="The estimate of each target.")


class EstimatesRows(Response):
    """The estimates of each target per row, in the order of the request."""

    model: ModelUsed
    predictions: list[EstimatesRow]
    inference_time_ms: InferenceTime


class SeveralEstimatesForm(AnswerForm):
    """An estimate of each target."""

    response: ClassVar[type[BaseModel]] = EstimatesRows
    row: ClassVar[type[BaseModel]] = EstimatesRow

    @property
    def _targets(self) -> list[str]:
        return [column.name for column in self.card.outputs]

    def rows(self, values: NDArray[np.floating]) -> list[AnswerRow]:
        targets = self._targets
        return [
            {"prediction": {name: estimate(value, values.dtype) for name, value in zip(targets, row, strict=True)}}
            for row in values.tolist()
        ]

    def example(self) -> AnswerRow:
        return {"prediction": dict.fromkeys(self._targets, 1.0)}

    def refine(self, schema: JsonSchema) -> None:
        schema["properties"]["prediction"] |= {
            "properties": {name: {"type": "number"} for name in self._targets},
            "required": self._targets,
            "additionalProperties": False,
        }

    def tensors(self) -> list[TensorMetadata]:
        return [tensor_metadata("prediction", "FP32", len(self._targets))]

    def outputs(self, rows: Sequence[AnswerRow]) -> list[Tensor]:
        return [Tensor("prediction", "FP32", np.array([list(row["prediction"].values()) for row in rows], np.float32))]

    def compare(self, rows: Sequence[AnswerRow], others: Sequence[AnswerRow]) -> Comparison:
        return compare_numbers(_numbers(rows), _numbers(others))


def _numbers(rows: Sequence[AnswerRow]) -> list[float]:
    return [value for row in rows for value in row["prediction"].values()]

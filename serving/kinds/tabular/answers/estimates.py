"""Answers of a regression: a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from serving.http.operation import JsonSchema
from serving.kinds.tabular.answers.form import AnswerForm, AnswerRow, estimate
from serving.open_inference.schemas import TensorMetadata, tensor_metadata
from serving.open_inference.tensors import Tensor
from serving.schemas.fields import InferenceTime, ModelUsed, Response
from serving.versions.shadow_comparison import Comparison, compare_numbers


class EstimatedRow(Response):
    """The estimate for one row."""

    prediction: float


class EstimatedRows(Response):
    """One estimate per row, in the order of the request."""

    model: ModelUsed
    predictions: list[EstimatedRow]
    inference_time_ms: InferenceTime


class EstimatedForm(AnswerForm):
    """An estimate."""

    response: ClassVar[type[BaseModel]] = EstimatedRows
    row: ClassVar[type[BaseModel]] = EstimatedRow

    def rows(self, values: NDArray[np.floating]) -> list[AnswerRow]:
        return [{"prediction": estimate(value, values.dtype)} for value in values[:, 0].tolist()]

    def example(self) -> AnswerRow:
        return {"prediction": 1.0}

    def refine(self, schema: JsonSchema) -> None:
        """Any number is possible."""

    def tensors(self) -> list[TensorMetadata]:
        return [tensor_metadata("prediction", "FP32")]

    def outputs(self, rows: Sequence[AnswerRow]) -> list[Tensor]:
        return [Tensor("prediction", "FP32", np.array([row["prediction"] for row in rows], np.float32))]

    def compare(self, rows: Sequence[AnswerRow], others: Sequence[AnswerRow]) -> Comparison:
        return compare_numbers([row["prediction"] for row in rows], [row["prediction"] for row in others])

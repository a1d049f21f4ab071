"""Answers of a clustering: the nearest cluster, and the distance to the centre of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from models.tabular.answers import answer_width
from serving.http.operation import JsonSchema
from serving.kinds.tabular.answers.form import AnswerForm, AnswerRow, estimate
from serving.open_inference.schemas import TensorMetadata, tensor_metadata
from serving.open_inference.tensors import Tensor
from serving.schemas.fields import InferenceTime, ModelUsed, Response
from serving.versions.shadow_comparison import Comparison, compare_classes


class ClusteredRow(Response):
    """The cluster of one row."""

    prediction: int = Field(ge=0, description="The number of the cluster whose centre is nearest, from 0.")
    distances: list[float] = Field(description="The distance to the centre of each cluster, in order.")


class ClusteredRows(Response):
    """The cluster of each row, in the order of the request."""

    model: ModelUsed
    predictions: list[ClusteredRow]
    inference_time_ms: InferenceTime


class ClusteredForm(AnswerForm):
    """A cluster and distances."""

    response: ClassVar[type[BaseModel]] = ClusteredRows
    row: ClassVar[type[BaseModel]] = ClusteredRow

    def rows(self, values: NDArray[np.floating]) -> list[AnswerRow]:
        return [
            {"prediction": place, "distances": [estimate(value, values.dtype) for value in row]}
            for place, row in zip(values.argmin(axis=1).tolist(), values.tolist(), strict=True)
        ]

    def example(self) -> AnswerRow:
        return {"prediction": 0, "distances": [1.0 + number for number in range(answer_width(self.card))]}

    def refine(self, schema: JsonSchema) -> None:
        clusters = answer_width(self.card)
        schema["properties"]["prediction"]["maximum"] = clusters - 1
        schema["properties"]["distances"] |= {"minItems": clusters, "maxItems": clusters}

    def tensors(self) -> list[TensorMetadata]:
        return [
            tensor_metadata("prediction", "INT64"),
            tensor_metadata("distances", "FP32", answer_width(self.card)),
        ]

    def outputs(self, rows: Sequence[AnswerRow]) -> list[Tensor]:
        return [
            Tensor("prediction", "INT64", np.array([row["prediction"] for row in rows], np.int64)),
            Tensor("distances", "FP32", np.array([row["distances"] for row in rows], np.float32)),
        ]

    def compare(self, rows: Sequence[AnswerRow], others: Sequence[AnswerRow]) -> Comparison:
        return compare_classes([str(row["prediction"]) for row in rows], [str(row["prediction"]) for row in others])

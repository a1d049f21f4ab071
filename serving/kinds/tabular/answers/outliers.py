"""Answers of an outlier detection: whether a row is an outlier, and its score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from serving.http.operation import JsonSchema
from serving.kinds.tabular.answers.form import AnswerForm, AnswerRow, estimate
from serving.open_inference.schemas import TensorMetadata, tensor_metadata
from serving.open_inference.tensors import Tensor, text_tensor
from serving.schemas.fields import InferenceTime, ModelUsed, Response
from serving.versions.shadow_comparison import Comparison, compare_classes

INLIER, OUTLIER = "inlier", "outlier"


class JudgedRow(Response):
    """Whether one row is an outlier."""

    prediction: Literal["inlier", "outlier"]
    score: float = Field(description="The lower, the less usual is the row. An outlier has a score below 0.")


class JudgedRows(Response):
    """Whether each row is an outlier, in the order of the request."""

    model: ModelUsed
    predictions: list[JudgedRow]
    inference_time_ms: InferenceTime


class OutlierForm(AnswerForm):
    """Inlier or outlier, and a score."""

    response: ClassVar[type[BaseModel]] = JudgedRows
    row: ClassVar[type[BaseModel]] = JudgedRow

    def rows(self, values: NDArray[np.floating]) -> list[AnswerRow]:
        return [
            {"prediction": OUTLIER if score < 0 else INLIER, "score": estimate(score, values.dtype)}
            for score in values[:, 0].tolist()
        ]

    def example(self) -> AnswerRow:
        return {"prediction": INLIER, "score": 0.12}

    def refine(self, schema: JsonSchema) -> None:
        """The type says it all."""

    def tensors(self) -> list[TensorMetadata]:
        return [tensor_metadata("prediction", "BYTES"), tensor_metadata("score", "FP32")]

    def outputs(self, rows: Sequence[AnswerRow]) -> list[Tensor]:
        return [
            text_tensor("prediction", [row["prediction"].encode() for row in rows], [len(rows)]),
            Tensor("score", "FP32", np.array([row["score"] for row in rows], np.float32)),
        ]

    def compare(self, rows: Sequence[AnswerRow], others: Sequence[AnswerRow]) -> Comparison:
        return compare_classes([row["prediction"] for row in rows], [row["prediction"] for row in others])

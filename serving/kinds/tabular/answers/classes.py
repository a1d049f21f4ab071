"""Answers of a classifier: the likeliest class, and the probability of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from serving.http.operation import JsonSchema
from serving.kinds.tabular.answers.form import LISTED_CLASSES, AnswerForm, AnswerRow
from serving.open_inference.schemas import TensorMetadata, tensor_metadata
from serving.open_inference.tensors import Tensor, text_tensor
from serving.schemas.fields import InferenceTime, ModelUsed, Response
from serving.versions.shadow_comparison import Comparison, compare_classes


class ClassifiedRow(Response):
    """The likeliest class of one row."""

    prediction: str = Field(description="The class with the highest probability.")
    probabilities: dict[str, float] = Field(description="Probability of each class.")


class ClassifiedRows(Response):
    """One prediction per row, in the order of the request."""

    model: ModelUsed
    predictions: list[ClassifiedRow]
    inference_time_ms: InferenceTime


class ClassifiedForm(AnswerForm):
    """A class and probabilities."""

    response: ClassVar[type[BaseModel]] = ClassifiedRows
    row: ClassVar[type[BaseModel]] = ClassifiedRow

    def rows(self, values: NDArray[np.floating]) -> list[AnswerRow]:
        classes = self.card.classes
        return [
            {"prediction": classes[place], "probabilities": dict(zip(classes, row, strict=True))}
            for place, row in zip(values.argmax(axis=1).tolist(), shares(values), strict=True)
        ]

    def example(self) -> AnswerRow:
        return {"prediction": self.card.classes[0], "probabilities": example_shares(self.card.classes)}

    def refine(self, schema: JsonSchema) -> None:
        classes = list(self.card.classes)
        if len(classes) <= LISTED_CLASSES:
            schema["properties"]["prediction"]["enum"] = classes
            schema["properties"]["probabilities"] |= shares_schema(classes)

    def tensors(self) -> list[TensorMetadata]:
        return [
            tensor_metadata("prediction", "BYTES"),
            tensor_metadata("probabilities", "FP32", len(self.card.classes)),
        ]

    def outputs(self, rows: Sequence[AnswerRow]) -> list[Tensor]:
        of_classes = [list(row["probabilities"].values()) for row in rows]
        return [
            text_tensor("prediction", [row["prediction"].encode() for row in rows], [len(rows)]),
            Tensor("probabilities", "FP32", np.array(of_classes, np.float32)),
        ]

    def compare(self, rows: Sequence[AnswerRow], others: Sequence[AnswerRow]) -> Comparison:
        return compare_classes([row["prediction"] for row in rows], [row["prediction"] for row in others])


def shares(values: NDArray[np.floating]) -> list[list[float]]:
    """Return probabilities with the digits that float32 has, in 0 to 1."""
    rounded: list[list[float]] = np.clip(values.astype(np.float64), 0.0, 1.0).round(6).tolist()
    return rounded


def example_shares(classes: Sequence[str]) -> dict[str, float]:
    """Return probabilities as they may be, the first class being the likeliest."""
    others = round(0.2 / max(1, len(classes) - 1), 6)
    return dict.fromkeys(classes, others) | {classes[0]: 0.8}


def shares_schema(classes: Sequence[str]) -> JsonSchema:
    """Return the JSON schema of an object with the probability of each class."""
    return {
        "properties": {name: {"type": "number", "minimum": 0, "maximum": 1} for name in classes},
        "required": list(classes),
        "additionalProperties": False,
    }

"""Answers of a classifier with several targets: the likeliest class of each, and the probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from models.tabular.answers import answer_parts, answer_width
from serving.http.operation import JsonSchema
from serving.kinds.tabular.answers.classes import example_shares, shares, shares_schema
from serving.kinds.tabular.answers.form import LISTED_CLASSES, AnswerForm, AnswerRow
from serving.open_inference.schemas import TensorMetadata, tensor_metadata
from serving.open_inference.tensors import Tensor, text_tensor
from serving.schemas.fields import InferenceTime, ModelUsed, Response
from serving.versions.shadow_comparison import Comparison, compare_classes


class ClassesRow(Response):
    """The likeliest class of each target for one row."""

    prediction: dict[str, str] = Field(description="The class with the highest probability, of each target.")
    probabilities: dict[str, dict[str, float]] = Field(description="Probability of each class, of each target.")


class ClassesRows(Response):
    """The classes of each target per row, in the order of the request."""

    model: ModelUsed
    predictions: list[ClassesRow]
    inference_time_ms: InferenceTime


class SeveralClassesForm(AnswerForm):
    """A class and probabilities of each target."""

    response: ClassVar[type[BaseModel]] = ClassesRows
    row: ClassVar[type[BaseModel]] = ClassesRow

    def rows(self, values: NDArray[np.floating]) -> list[AnswerRow]:
        rows: list[AnswerRow] = [{"prediction": {}, "probabilities": {}} for _ in values]
        for target, part in zip(self.card.outputs, answer_parts(self.card), strict=True):
            places = values[:, part].argmax(axis=1).tolist()
            for row, place, of_classes in zip(rows, places, shares(values[:, part]), strict=True):
                row["prediction"][target.name] = target.categories[place]
                row["probabilities"][target.name] = dict(zip(target.categories, of_classes, strict=True))
        return rows

    def example(self) -> AnswerRow:
        return {
            "prediction": {target.name: target.categories[0] for target in self.card.outputs},
            "probabilities": {target.name: example_shares(target.categories) for target in self.card.outputs},
        }

    def refine(self, schema: JsonSchema) -> None:
        targets = self.card.outputs
        exact = {"required": [target.name for target in targets], "additionalProperties": False}
        are_listed = max(len(target.categories) for target in targets) <= LISTED_CLASSES
        classes: JsonSchema = {}
        probabilities: JsonSchema = {}
        for target in targets:
            listed = {"enum": list(target.categories)} if are_listed else {}
            classes[target.name] = {"type": "string", **listed}
            of_classes = (
                shares_schema(target.categories) if are_listed else {"additionalProperties": {"type": "number"}}
            )
            probabilities[target.name] = {"type": "object", **of_classes}
        schema["properties"]["prediction"] |= {"properties": classes, **exact}
        schema["properties"]["probabilities"] |= {"properties": probabilities, **exact}

    def tensors(self) -> list[TensorMetadata]:
        return [
            tensor_metadata("prediction", "BYTES", len(self.card.outputs)),
            tensor_metadata("probabilities", "FP32", answer_width(self.card)),
        ]

    def outputs(self, rows: Sequence[AnswerRow]) -> list[Tensor]:
        classes = [name.encode() for row in rows for name in row["prediction"].values()]
        of_classes = [[share for each in row["probabilities"].values() for share in each.values()] for row in rows]
        return [
            text_tensor("prediction", classes, [len(rows), len(self.card.outputs)]),
            Tensor("probabilities", "FP32", np.array(of_classes, np.float32)),
        ]

    def labels(self) -> Sequence[str]:
        return [f"{target.name}={name}" for target in self.card.outputs for name in target.categories]

    def compare(self, rows: Sequence[AnswerRow], others: Sequence[AnswerRow]) -> Comparison:
        return compare_classes(_classes(rows), _classes(others))


def _classes(rows: Sequence[AnswerRow]) -> list[str]:
    return [name for row in rows for name in row["prediction"].values()]

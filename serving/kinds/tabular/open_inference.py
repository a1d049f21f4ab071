"""Rows of the table as tensors: one for each column, (N) or (N, 1)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import ValidationError

from models.card import Card, Column
from models.errors import InputError, InvalidInput
from serving.kinds.tabular.handler import TabularHandler
from serving.kinds.tabular.schemas import ClassifiedRows
from serving.open_inference.codec import located
from serving.open_inference.outputs import Inferred
from serving.open_inference.tensors import Tensor, text_of, text_tensor


async def infer_rows(calls: TabularHandler, card: Card, inputs: Mapping[str, Tensor]) -> Inferred:
    """Predictions of rows, one tensor for each column of `card`. Raises InvalidInput, and what the call raises."""
    columns = {column.name: column for column in card.inputs}
    rows = next(iter(inputs.values())).shape[0]
    values: dict[str, list[Any]] = {}
    for index, (name, tensor) in enumerate(inputs.items()):
        if name not in columns:
            message = f"no column '{name[:100]}'; known: {', '.join(columns)}"
            raise InvalidInput(message, location=("body", "inputs", index, "name"))
        if tensor.shape not in ([rows], [rows, 1]):
            message = f"the shape has to be [{rows}] or [{rows}, 1], that of the first tensor"
            raise InvalidInput(message, location=("body", "inputs", index, "shape"))
        values[name] = _column(tensor, columns[name])
    instances = [{name: column[row] for name, column in values.items()} for row in range(rows)]
    try:
        answer = await calls.predict(instances)
    except (ValidationError, InputError) as error:
        raise located(error, list(inputs)) from error
    if not isinstance(answer, ClassifiedRows):
        estimates = np.array([row.prediction for row in answer.predictions], np.float32)
        return Inferred("tabular", answer.model.version, [Tensor("prediction", "FP32", estimates)])
    classes = list(answer.predictions[0].probabilities)
    shares = [[row.probabilities[each] for each in classes] for row in answer.predictions]
    labels = [row.prediction.encode() for row in answer.predictions]
    outputs = [
        text_tensor("prediction", labels, [rows]),
        Tensor("probabilities", "FP32", np.array(shares, np.float32)),
    ]
    return Inferred("tabular", answer.model.version, outputs, classes)


def _column(tensor: Tensor, column: Column) -> list[Any]:
    """The values of a column as the JSON call takes them. NaN, and an empty text, stand for null where it may be."""
    values: list[Any] = tensor.values.ravel().tolist()
    if tensor.datatype == "BYTES":
        texts = [text_of(each, ("body", "instances", row, column.name)) for row, each in enumerate(values)]
        known = column.categories if column.kind == "category" else ("",)
        return [None if text == "" and column.nullable and "" not in known else text for text in texts]
    if tensor.datatype == "FP32" and column.kind == "number":
        values = [float(f"{value:.9g}") for value in values]
    return [None if isinstance(value, float) and math.isnan(value) and column.nullable else value for value in values]

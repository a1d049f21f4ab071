"""Rows of a table as tensors of the Open Inference Protocol: one for each column, (N) or (N, 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from models.card import Card, Column
from models.errors import InputError, InvalidInput
from serving.kinds.tabular.answers.registry import answer_form
from serving.kinds.tabular.schemas import TabularSchema
from serving.open_inference.codec import DecodedRequest
from serving.open_inference.outputs import Inferred
from serving.open_inference.schemas import TensorMetadata, tensor_metadata
from serving.open_inference.tensors import Datatype, Tensor, text_of

if TYPE_CHECKING:
    from serving.kinds.tabular.handler import TabularHandler

DESCRIPTION = (
    "One tensor for each column, [N] or [N, 1]. NaN, and an empty text, stand for null where a column may be null."
)
_DATATYPES: dict[str, Datatype] = {"number": "FP64", "integer": "INT64", "boolean": "BOOL"}


def tensors(card: Card) -> tuple[list[TensorMetadata], list[TensorMetadata]]:
    """Return the inputs and outputs of a model with `card`."""
    inputs = [tensor_metadata(column.name, _DATATYPES.get(column.kind, "BYTES")) for column in card.inputs]
    return inputs, answer_form(card).tensors()


def example(schema: TabularSchema) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return examples of the body and of one output of a request."""
    row = schema.example_row
    inputs = []
    for each in tensors(schema.card)[0]:
        # A null needs a datatype that has a value for it: NaN.
        datatype = "FP64" if row[each.name] is None and each.datatype == "INT64" else each.datatype
        inputs.append({"name": each.name, "datatype": datatype, "shape": [1], "data": [row[each.name]]})
    output = schema.form.outputs([schema.form.example()])[-1]
    numbers = output.values.astype(np.float64).round(6).ravel().tolist()
    return {"inputs": inputs}, {
        "name": output.name,
        "datatype": output.datatype,
        "shape": output.shape,
        "data": numbers,
    }


async def infer(handler: TabularHandler, request: DecodedRequest) -> Inferred:
    """Predict rows given as one tensor per column. Raises InvalidInput, and as `TabularHandler.predict`."""
    inputs = {tensor.name: tensor for tensor in request.inputs}
    columns = {column.name: column for column in handler.model.chosen().card.inputs}
    rows = next(iter(inputs.values())).shape[0]
    if rows > handler.max_rows:
        message = f"at most {handler.max_rows} rows may be sent, not {rows}"
        raise InvalidInput(message, location=("body", "inputs", 0, "shape"))
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
        answer = await handler.predict(instances)
    except (ValidationError, InputError) as error:
        raise _in_tensors(error, list(inputs)) from error
    form = answer.schema.form
    return Inferred(answer.model.version, form.outputs(answer.rows), form.labels())


def _in_tensors(error: ValidationError | InputError, inputs: Sequence[str]) -> Exception:
    """Return the fault of a row with its location in the request: the tensor, and the position in it."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        parts, message = ("body", *first["loc"]), str(first["msg"])
    else:
        parts, message = error.location, str(error)
    match parts:
        case ("body", "instances", int(row), str(name), *_) if name in inputs:
            return InvalidInput(f"{name}: {message}", location=("body", "inputs", inputs.index(name), "data", row))
        case ("body", "instances", int(), str(name), *_):
            return InvalidInput(f"a tensor '{name[:100]}' is required", location=("body", "inputs"))
    return InvalidInput(message, location=("body", "inputs"))


def _column(tensor: Tensor, column: Column) -> list[Any]:
    """Return the values of a column as JSON values. NaN and an empty text mean null where the column allows it."""
    values: list[Any] = tensor.values.ravel().tolist()
    if tensor.datatype == "BYTES":
        texts = [text_of(each, ("body", "instances", row, column.name)) for row, each in enumerate(values)]
        known = column.categories if column.kind == "category" else ("",)
        return [None if text == "" and column.nullable and "" not in known else text for text in texts]
    if tensor.datatype == "FP32" and column.kind == "number":
        values = [float(f"{value:.9g}") for value in values]
    return [None if isinstance(value, float) and math.isnan(value) and column.nullable else value for value in values]

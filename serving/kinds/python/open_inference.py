"""Instances as tensors of the Open Inference Protocol: `instance`, (N) or (N, 1), and `prediction`.

Texts, numbers and booleans have their datatypes. An instance of another type is JSON text in BYTES.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from models.card import Card, CodeInterface
from models.errors import InputError, InvalidInput
from models.python.model import INSTANCE, PREDICTION
from serving.open_inference.codec import DecodedRequest
from serving.open_inference.outputs import Inferred
from serving.open_inference.schemas import TensorMetadata, tensor_metadata
from serving.open_inference.tensors import Datatype, Tensor, text_of, text_tensor

if TYPE_CHECKING:
    from serving.kinds.python.handler import PythonHandler

DESCRIPTION: Final = (
    "`instance` is [N] or [N, 1]. It is BYTES with texts, or with JSON where an instance is not a single text, number "
    "or boolean."
)
_DATATYPES: Final[Mapping[str, Datatype]] = {"number": "FP64", "integer": "INT64", "boolean": "BOOL"}


def tensors(card: Card) -> tuple[list[TensorMetadata], list[TensorMetadata]]:
    """Return the input and the output of a model with `card`."""
    code = _code(card)
    return (
        [tensor_metadata(INSTANCE, _datatype(code.input))],
        [tensor_metadata(PREDICTION, _datatype(code.output))],
    )


def example(code: CodeInterface) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return examples of the body and of the output of a request."""
    return (
        {"inputs": [_described(INSTANCE, code.input, code.example)]},
        _described(PREDICTION, code.output, code.example_prediction),
    )


async def infer(handler: PythonHandler, request: DecodedRequest) -> Inferred:
    """Predict instances. Raises InvalidInput with the location of the fault, and as `PythonHandler.predict`."""
    tensor = request.inputs[0]
    if tensor.name != INSTANCE or len(request.inputs) > 1:
        raise InvalidInput(f"there has to be one tensor, '{INSTANCE}'", location=("body", "inputs"))
    code = handler.model.chosen().code
    datatype, count = _datatype(code.input), tensor.shape[0]
    if tensor.datatype != datatype or tensor.shape not in ([count], [count, 1]):
        message = f"has to be {datatype} (N) or (N, 1)"
        raise InvalidInput(message, location=("body", "inputs", 0, "datatype"))
    try:
        response = await handler.predict(_instances(tensor, code.input))
    except InputError as error:
        match error.location:
            case ("body", "instances", *rest):
                error.location = ("body", "inputs", 0, "data", *rest)
        raise
    output = _output(response.predictions, response.version.code.output)
    return Inferred(response.model.version, [output])


def _code(card: Card) -> CodeInterface:
    if card.code is None:
        raise InvalidInput("the model names no class")
    return card.code


def _is_text(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "string"


def _datatype(schema: Mapping[str, Any]) -> Datatype:
    return _DATATYPES.get(str(schema.get("type")), "BYTES")


def _instances(tensor: Tensor, schema: Mapping[str, Any]) -> list[Any]:  # Any: JSON
    values: list[Any] = tensor.values.ravel().tolist()
    if tensor.datatype != "BYTES":
        return values
    texts = [text_of(each, ("body", "inputs", 0, "data", row)) for row, each in enumerate(values)]
    return texts if _is_text(schema) else [_parsed(text, row) for row, text in enumerate(texts)]


def _parsed(text: str | None, row: int) -> Any:  # Any: JSON
    try:
        return orjson.loads(text or "")
    except orjson.JSONDecodeError as error:
        raise InvalidInput("the element is not JSON", location=("body", "inputs", 0, "data", row)) from error


def _output(predictions: Sequence[Any], schema: Mapping[str, Any]) -> Tensor:
    datatype = _datatype(schema)
    if datatype == "BYTES":
        return text_tensor(PREDICTION, [_text(each, schema).encode() for each in predictions], [len(predictions)])
    dtype = {"FP64": np.float64, "INT64": np.int64, "BOOL": np.bool_}[datatype]
    return Tensor(PREDICTION, datatype, np.array(predictions, dtype))


def _text(value: Any, schema: Mapping[str, Any]) -> str:
    return str(value) if _is_text(schema) else orjson.dumps(value).decode()


def _described(name: str, schema: Mapping[str, Any], value: Any) -> dict[str, Any]:
    datatype = _datatype(schema)
    data = [_text(value, schema) if datatype == "BYTES" else value]
    return {"name": name, "datatype": datatype, "shape": [1], "data": data}

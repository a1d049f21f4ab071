"""Texts as tensors of the Open Inference Protocol: `text`, BYTES (N) or (N, 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from models.card import Card
from models.errors import InvalidInput
from serving.kinds.text.schemas import MAX_TEXT_CHARACTERS
from serving.open_inference.codec import DecodedRequest
from serving.open_inference.outputs import Inferred
from serving.open_inference.schemas import TensorMetadata, tensor_metadata
from serving.open_inference.tensors import Tensor, text_of, text_tensor

if TYPE_CHECKING:
    from serving.kinds.text.handler import TextHandler

DESCRIPTION = "`text` is BYTES [N] or [N, 1]: texts in UTF-8."


def tensors(card: Card) -> tuple[list[TensorMetadata], list[TensorMetadata]]:
    """Return the inputs and outputs of a model with `card`."""
    outputs = [tensor_metadata("prediction", "BYTES"), tensor_metadata("probabilities", "FP32", len(card.classes))]
    return [tensor_metadata("text", "BYTES")], outputs


def example() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return examples of the body and of one output of a request."""
    text = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["A text to classify."]}
    return {"inputs": [text]}, {"name": "probabilities", "datatype": "FP32", "shape": [1, 2], "data": [0.8, 0.2]}


async def infer(handler: TextHandler, request: DecodedRequest) -> Inferred:
    """Classify texts. Raises InvalidInput with the location of the fault, and as `TextHandler.classify`."""
    tensor = request.inputs[0]
    if tensor.name != "text" or len(request.inputs) > 1:
        raise InvalidInput("there has to be one tensor, 'text'", location=("body", "inputs"))
    rows = len(tensor.values)
    if tensor.datatype != "BYTES" or tensor.shape not in ([rows], [rows, 1]):
        raise InvalidInput("has to be BYTES (N) or (N, 1)", location=("body", "inputs", 0, "datatype"))
    at = ("body", "inputs", 0, "data")
    if not 1 <= rows <= handler.max_texts:
        raise InvalidInput(f"1 to {handler.max_texts} texts may be sent, not {rows}", location=at)
    texts = [text_of(each, (*at, row)) or "" for row, each in enumerate(tensor.values.ravel())]
    if long := [row for row, text in enumerate(texts) if len(text) > MAX_TEXT_CHARACTERS]:
        raise InvalidInput(f"a text has at most {MAX_TEXT_CHARACTERS} characters", location=(*at, long[0]))
    response = await handler.classify(texts)
    shares = [list(each["probabilities"].values()) for each in response.texts]
    outputs = [
        text_tensor("prediction", [each["prediction"].encode() for each in response.texts], [len(texts)]),
        Tensor("probabilities", "FP32", np.array(shares, np.float32)),
    ]
    return Inferred(response.model.version, outputs, response.version.card.classes)

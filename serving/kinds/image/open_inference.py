"""Images as tensors of the Open Inference Protocol: BYTES (N), encoded files; or UINT8 (N, H, W, 3), pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from models.card import Card
from models.errors import InvalidInput
from serving.http.requests.base64_text import decode_base64
from serving.kinds.image.examples import RED_PIXEL
from serving.open_inference.codec import DecodedRequest
from serving.open_inference.outputs import Inferred
from serving.open_inference.schemas import TensorMetadata, tensor_metadata
from serving.open_inference.tensors import Tensor, text_tensor

if TYPE_CHECKING:
    from serving.kinds.image.handler import ImageHandler

DESCRIPTION = (
    "`image` is BYTES [N], encoded files (base64 in JSON), or UINT8 [N, H, W, 3], pixels, which are scaled and cropped "
    "as those of a file are."
)


def tensors(card: Card) -> tuple[list[TensorMetadata], list[TensorMetadata]]:
    """Return the inputs and outputs of a model with `card`."""
    outputs = [tensor_metadata("label", "BYTES"), tensor_metadata("probabilities", "FP32", len(card.classes))]
    return [tensor_metadata("image", "BYTES")], outputs


def example() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return examples of the body and of one output of a request."""
    image = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [RED_PIXEL]}
    return {"inputs": [image]}, {"name": "probabilities", "datatype": "FP32", "shape": [1, 2], "data": [0.8, 0.2]}


async def infer(handler: ImageHandler, request: DecodedRequest) -> Inferred:
    """Return labels and probabilities of images. Raises InvalidInput, and as `ImageHandler.probabilities`."""
    tensor = request.inputs[0]
    if tensor.name != "image" or len(request.inputs) > 1:
        raise InvalidInput("there has to be one tensor, 'image'", location=("body", "inputs"))
    if not 1 <= len(tensor.values) <= handler.max_images:
        message = f"1 to {handler.max_images} images may be sent, not {len(tensor.values)}"
        raise InvalidInput(message, location=("body", "inputs", 0, "data"))
    images: list[Any]
    if tensor.datatype == "BYTES":
        elements = tensor.values.ravel()
        is_text = tensor.name in request.is_text
        images = [await _file(each, index) if is_text else each for index, each in enumerate(elements)]
    elif tensor.datatype == "UINT8" and tensor.values.ndim == 4 and tensor.shape[3] == 3:
        images = list(tensor.values)
    else:
        message = "has to be BYTES (N), encoded files, or UINT8 (N, H, W, 3), pixels"
        raise InvalidInput(message, location=("body", "inputs", 0, "datatype"))
    result = await handler.probabilities(images, within=("body", "inputs", 0, "data"))
    classes = result.version.card.classes
    labels = [classes[place].encode() for place in result.values.argmax(axis=1)]
    outputs = [
        text_tensor("label", labels, [len(labels)]),
        Tensor("probabilities", "FP32", result.values.astype(np.float32)),
    ]
    return Inferred(result.model.version, outputs, classes)


async def _file(text: bytes | None, index: int) -> bytes:
    try:
        return await decode_base64(text or b"")
    except ValueError as error:
        location = ("body", "inputs", 0, "data", index)
        raise InvalidInput("a file in JSON has to be base64", location=location) from error

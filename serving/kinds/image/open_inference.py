"""Images as tensors: `image`, BYTES (N), encoded files; or UINT8 (N, H, W, 3), pixels, fitted as those of a file."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np

from models.errors import InvalidInput
from serving.kinds.image.handler import ImageHandler
from serving.open_inference.codec import DecodedRequest
from serving.open_inference.outputs import Inferred
from serving.open_inference.tensors import Tensor, text_tensor


async def infer_images(calls: ImageHandler, asked: DecodedRequest) -> Inferred:
    """Labels and probabilities of the images. Raises InvalidInput with its location, and what the call raises."""
    tensor = asked.inputs[0]
    if tensor.name != "image" or len(asked.inputs) > 1:
        raise InvalidInput("there has to be one tensor, 'image'", location=("body", "inputs"))
    images: list[Any]
    if tensor.datatype == "BYTES":
        elements = tensor.values.ravel()
        images = [_file(each, index) if tensor.name in asked.is_text else each for index, each in enumerate(elements)]
    elif tensor.datatype == "UINT8" and tensor.values.ndim == 4 and tensor.shape[3] == 3:
        images = list(tensor.values)
    else:
        message = "has to be BYTES (N), encoded files, or UINT8 (N, H, W, 3), pixels"
        raise InvalidInput(message, location=("body", "inputs", 0, "datatype"))
    answer, classes = await calls.probabilities(images, within=("body", "inputs", 0, "data"))
    labels = [classes[place].encode() for place in answer.values.argmax(axis=1)]
    outputs = [
        text_tensor("label", labels, [len(labels)]),
        Tensor("probabilities", "FP32", answer.values.astype(np.float32)),
    ]
    return Inferred("image", answer.model.version, outputs, classes)


def _file(text: bytes | None, index: int) -> bytes:
    try:
        return base64.b64decode(text or b"", validate=True)
    except binascii.Error as error:
        where = ("body", "inputs", 0, "data", index)
        raise InvalidInput("a file in JSON has to be base64", location=where) from error

"""The outputs of a model, and the selection of those that a request asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.errors import InvalidInput
from serving.open_inference.schemas import InferWanted
from serving.open_inference.tensors import Tensor, text_tensor


@dataclass(frozen=True, slots=True)
class Inferred:
    """All outputs of a model, and the version that computed them. `classes` are those of `probabilities`."""

    version: str
    outputs: list[Tensor]
    classes: Sequence[str] = ()


def select_outputs(outputs: list[Tensor], wanted: Sequence[InferWanted], classes: Sequence[str]) -> list[Tensor]:
    """Return the outputs that `wanted` names, in that order; all of them for no names. Raises InvalidInput."""
    known = {tensor.name: tensor for tensor in outputs}
    selected: list[Tensor] = []
    for index, each in enumerate(wanted):
        if each.name not in known:
            message = f"no output '{each.name[:100]}'; known: {', '.join(known)}"
            raise InvalidInput(message, location=("body", "outputs", index, "name"))
        best = (each.parameters or {}).get("classification")
        selected.append(known[each.name] if best is None else _classified(known[each.name], best, classes, index))
    return selected or outputs


def _classified(tensor: Tensor, best: object, classes: Sequence[str], index: int) -> Tensor:
    """Return the likeliest classes as `value:index:label` (Triton's classification extension)."""
    if tensor.name != "probabilities" or type(best) is not int or best < 1:
        message = "'classification' is a number of classes, of the output 'probabilities'"
        raise InvalidInput(message, location=("body", "outputs", index, "parameters", "classification"))
    top = np.argsort(-tensor.values, axis=1, kind="stable")[:, :best]
    elements = [
        f"{row[place]:f}:{place}:{classes[place]}".encode()
        for row, places in zip(tensor.values, top, strict=True)
        for place in places
    ]
    return text_tensor(tensor.name, elements, list(top.shape))

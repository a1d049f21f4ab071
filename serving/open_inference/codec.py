"""Bodies of the Open Inference Protocol: JSON alone, or JSON with the bytes of tensors behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import orjson

from models.errors import InvalidInput
from serving.context import Priority
from serving.errors.exceptions import FieldFault, Malformed
from serving.http.priority import priority_named
from serving.http.requests.json_bounds import DEFAULT_BOUNDS, JsonBounds, check_json
from serving.open_inference.schemas import InferInput, InferRequest, InferWanted
from serving.open_inference.tensors import Tensor, from_binary, from_json, to_binary, to_json

HEADER_LENGTH = "Inference-Header-Content-Length"
BINARY = "application/octet-stream"
# 1 ms of the event loop.
_LARGE_ELEMENTS = 10_000


@dataclass(frozen=True, slots=True)
class DecodedRequest:
    """A request, its tensors read. `is_text` are the names of those that came as JSON."""

    id: str | None
    inputs: tuple[Tensor, ...]
    outputs: tuple[InferWanted, ...]
    is_text: frozenset[str]
    wants_binary: bool
    priority: Priority | None = None


async def read(body: bytes, header_length: str | None, bounds: JsonBounds = DEFAULT_BOUNDS) -> DecodedRequest:
    """Return the request in `body`. Other tasks run between its steps and between large tensors.

    Raises Malformed, pydantic's ValidationError, InvalidInput with the location, and as `check_json`.
    """
    head, tail = _split(body, header_length)
    await check_json(head, bounds)
    request = InferRequest.model_validate_json(head)
    _check_names("inputs", request.inputs)
    _check_names("outputs", request.outputs or ())
    tensors: list[Tensor] = []
    place = 0
    for index, each in enumerate(request.inputs):
        if prod(each.shape) > _LARGE_ELEMENTS:
            await asyncio.sleep(0)
        size = _binary_size(each, index)
        try:
            if size is None:
                tensors.append(from_json(each.name, each.datatype, each.shape, each.data or []))
                continue
            if place + size > len(tail):
                raise Malformed("the body is shorter than its tensors")
            tensors.append(from_binary(each.name, each.datatype, each.shape, tail[place : place + size]))
            place += size
        except InvalidInput as error:
            error.location = ("body", "inputs", index, *error.location)
            raise
    if place != len(tail):
        raise Malformed("the body is longer than its tensors")
    return DecodedRequest(
        id=request.id,
        inputs=tuple(tensors),
        outputs=tuple(request.outputs or ()),
        is_text=frozenset(each.name for each in request.inputs if each.data is not None),
        wants_binary=(request.parameters or {}).get("binary_data_output") is True,
        priority=_priority((request.parameters or {}).get("priority")),
    )


def write(decoded: DecodedRequest, outputs: Sequence[Tensor], *, model: str, version: str) -> tuple[bytes, int | None]:
    """The answer, and the length of its JSON where bytes follow it."""
    parameters = {each.name: each.parameters or {} for each in decoded.outputs}
    described: list[dict[str, Any]] = []
    tail: list[bytes] = []
    for tensor in outputs:
        output: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if parameters.get(tensor.name, {}).get("binary_data", decoded.wants_binary) is True:
            tail.append(to_binary(tensor))
            output["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            output["data"] = to_json(tensor)
        described.append(output)
    answer: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": described}
    if decoded.id is not None:
        answer["id"] = decoded.id
    head = orjson.dumps(answer)
    return (b"".join((head, *tail)), len(head)) if tail else (head, None)


def _priority(given: object) -> Priority | None:
    """Return the priority that a request asks for: its name, or Triton's number. None where it asks for none.

    Triton's 1 is the highest priority, larger numbers are lower ones, and 0 asks for none. Raises InvalidInput.
    """
    where = ("body", "parameters", "priority")
    if given is None or isinstance(given, str):
        return None if given is None else priority_named(given, location=where)
    if type(given) is not int or given < 0:
        raise InvalidInput("has to be interactive, batch, or a whole number of at least 0", location=where)
    return (None, "interactive")[given] if given < 2 else "batch"


def _check_names(member: str, each: Sequence[InferInput | InferWanted]) -> None:
    """Raise FieldFault for a name that is given twice: an output would be written as often."""
    names: set[str] = set()
    for index, named in enumerate(each):
        if named.name in names:
            raise FieldFault("given more than once", location=("body", member, index, "name"), value_type="string")
        names.add(named.name)


def _split(body: bytes, header_length: str | None) -> tuple[bytes, memoryview]:
    if header_length is None:
        return body, memoryview(b"")
    if not (header_length.isascii() and header_length.isdigit() and len(header_length) < 12):
        raise Malformed(f"{HEADER_LENGTH} has to be a number of bytes")
    length = int(header_length)
    if length > len(body):
        raise Malformed(f"{HEADER_LENGTH} is {length}; the body has {len(body)} bytes")
    return body[:length], memoryview(body)[length:]


def _binary_size(given: InferInput, index: int) -> int | None:
    size = (given.parameters or {}).get("binary_data_size")
    if size is None:
        if given.data is None:
            raise FieldFault("Field required", location=("body", "inputs", index, "data"), value_type="absent")
        return None
    if type(size) is not int or size < 0 or given.data is not None:
        where = ("body", "inputs", index, "parameters", "binary_data_size")
        raise InvalidInput("has to be a number of bytes, and there must be no data beside it", location=where)
    return size

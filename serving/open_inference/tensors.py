"""Tensors of the Open Inference Protocol, as JSON and as bytes.

The protocol and its binary extension: https://github.com/kserve/open-inference-protocol, and Triton's
`extension_binary_data.md`. BYTES elements are `bytes` in an object array, or None for a JSON null.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from models.errors import InvalidInput
from serving.errors.exceptions import Malformed

Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"
]
DATATYPES: tuple[Datatype, ...] = get_args(Datatype)
MAX_DIMENSIONS = 8
# Always little-endian on the wire.
_NUMPY: dict[Datatype, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("<u1"), "UINT16": np.dtype("<u2"), "UINT32": np.dtype("<u4"), "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"), "INT16": np.dtype("<i2"), "INT32": np.dtype("<i4"), "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"), "FP32": np.dtype("<f4"), "FP64": np.dtype("<f8"),
}  # fmt: skip
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named array. `values` has the shape of the tensor."""

    name: str
    datatype: Datatype
    values: NDArray[Any]

    @property
    def shape(self) -> list[int]:
        """The shape."""
        return list(self.values.shape)


def from_json(name: str, datatype: Datatype, shape: Sequence[int], data: list[Any]) -> Tensor:
    """Return a tensor of the elements in `data`, flat or nested. Raises InvalidInput."""
    flat = _flat(data)
    _check_count(len(flat), shape)
    fits = _checker(datatype)
    for index, value in enumerate(flat):
        if not fits(value):
            raise InvalidInput(f"element {index} is not {datatype}", location=("data", index))
    if datatype == "BYTES":
        return text_tensor(name, [value if value is None else value.encode() for value in flat], shape)
    # A null among numbers is a missing number.
    numbers = [math.nan if value is None else value for value in flat]
    with np.errstate(over="ignore"):
        return Tensor(name, datatype, np.array(numbers, _NUMPY[datatype]).reshape(shape))


def from_binary(name: str, datatype: Datatype, shape: Sequence[int], data: memoryview) -> Tensor:
    """Return a tensor of the elements in `data`, in binary form. Raises InvalidInput."""
    if datatype == "BYTES":
        return text_tensor(name, _elements(data, math.prod(shape)), shape)
    dtype = _NUMPY[datatype]
    if len(data) != dtype.itemsize * math.prod(shape):
        raise InvalidInput(
            f"{len(data)} bytes are not {math.prod(shape)} elements of {datatype}", location=("parameters",)
        )
    if datatype == "BOOL" and any(each > 1 for each in bytes(data)):
        raise InvalidInput("a BOOL is a byte of 0 or 1", location=("parameters",))
    return Tensor(name, datatype, np.frombuffer(data, dtype).reshape(shape))


def text_tensor(name: str, elements: Sequence[bytes | None], shape: Sequence[int]) -> Tensor:
    """Return a BYTES tensor. Raises InvalidInput when the elements do not fill the shape."""
    _check_count(len(elements), shape)
    values = np.empty(len(elements), object)
    values[:] = elements
    return Tensor(name, "BYTES", values.reshape(shape))


def text_of(element: bytes | None, where: tuple[str | int, ...]) -> str | None:
    """Return the text of an element of a BYTES tensor. Raises InvalidInput with the location `where`."""
    try:
        return None if element is None else element.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput("the bytes are no UTF-8 text", location=where) from error


def to_json(tensor: Tensor) -> list[Any]:
    """Return the elements, flat. Bytes that are not UTF-8 are replaced."""
    if tensor.datatype == "BYTES":
        return [each.decode(errors="replace") for each in tensor.values.ravel()]
    return tensor.values.ravel().tolist()


def to_binary(tensor: Tensor) -> bytes:
    """Return the elements in binary form."""
    if tensor.datatype == "BYTES":
        return b"".join(part for each in tensor.values.ravel() for part in (_LENGTH.pack(len(each)), each))
    return np.ascontiguousarray(tensor.values, _NUMPY[tensor.datatype]).tobytes()


def _elements(data: memoryview, count: int) -> list[bytes | None]:
    elements: list[bytes | None] = []
    place = 0
    while place < len(data):
        if len(elements) == count or place + _LENGTH.size > len(data):
            raise Malformed(f"the bytes of a BYTES tensor are not {count} elements, each after its length")
        (length,) = _LENGTH.unpack_from(data, place)
        place += _LENGTH.size
        if place + length > len(data):
            raise Malformed("a BYTES element is longer than what is left of its tensor")
        elements.append(bytes(data[place : place + length]))
        place += length
    return elements


def _check_count(count: int, shape: Sequence[int]) -> None:
    if count != math.prod(shape):
        raise InvalidInput(f"{count} elements do not fill the shape {list(shape)}", location=("shape",))


def _flat(data: list[Any]) -> list[Any]:
    for _ in range(MAX_DIMENSIONS):
        if not any(isinstance(each, list) for each in data):
            return data
        if not all(isinstance(each, list) for each in data):
            raise InvalidInput("data holds elements beside lists of elements", location=("data",))
        data = [each for part in data for each in part]
    raise InvalidInput(f"data is nested deeper than {MAX_DIMENSIONS}", location=("data",))


def _checker(datatype: Datatype) -> Callable[[Any], bool]:
    """Return what checks whether a JSON value is an element."""
    if datatype == "BYTES":
        return lambda value: value is None or isinstance(value, str)
    if datatype == "BOOL":
        return lambda value: isinstance(value, bool)
    if datatype.startswith("FP"):
        return lambda value: value is None or (type(value) in (int, float) and abs(value) <= _FLOAT_MAX)
    range_ = np.iinfo(_NUMPY[datatype])
    return lambda value: type(value) is int and range_.min <= value <= range_.max


_FLOAT_MAX = 1.7976931348623157e308

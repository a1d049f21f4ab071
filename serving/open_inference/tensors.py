"""Tensors of the Open Inference Protocol, as JSON and as bytes.

The protocol and its binary extension: https://github.com/kserve/open-inference-protocol, and Triton's
`extension_binary_data.md`. BYTES elements are `bytes` in an object array, or None for a JSON null.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from models.errors import InputTooLarge, InvalidInput
from serving.errors.exceptions import Malformed

Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"
]
DATATYPES: tuple[Datatype, ...] = get_args(Datatype)
MAX_DIMENSIONS = 8
# Each element is read by a loop of Python, in 0.2 us.
MAX_TEXTS = 100_000
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
    if not _TYPES[datatype].issuperset(map(type, flat)):
        raise _misfit(flat, datatype)
    if datatype == "BYTES":
        return text_tensor(name, [value if value is None else value.encode() for value in flat], shape)
    try:
        values = _numbers(flat, datatype)
    except OverflowError:
        raise _misfit(flat, datatype) from None
    return Tensor(name, datatype, values.reshape(shape))


def from_binary(name: str, datatype: Datatype, shape: Sequence[int], data: memoryview) -> Tensor:
    """Return a tensor of the elements in `data`, in binary form. Raises InvalidInput."""
    if datatype == "BYTES":
        return text_tensor(name, _elements(data, math.prod(shape)), shape)
    dtype = _NUMPY[datatype]
    if len(data) != dtype.itemsize * math.prod(shape):
        raise InvalidInput(
            f"{len(data)} bytes are not {math.prod(shape)} elements of {datatype}", location=("parameters",)
        )
    if datatype == "BOOL" and len(data) and np.frombuffer(data, np.uint8).max() > 1:
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
    if count > MAX_TEXTS:
        raise InputTooLarge(f"a BYTES tensor in binary form has at most {MAX_TEXTS} elements, not {count}")
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


def _numbers(flat: list[Any], datatype: Datatype) -> NDArray[Any]:
    """Return the elements as an array. Raises OverflowError for one outside the range of the datatype."""
    dtype = _NUMPY[datatype]
    if dtype.kind == "b":
        return np.array(flat, dtype)
    if dtype.kind == "f":
        # A null among numbers is a missing number, and NaN is no number of JSON.
        missing = flat.count(None)
        numbers = np.array([math.nan if value is None else value for value in flat] if missing else flat, np.float64)
        if np.count_nonzero(np.isfinite(numbers)) + missing != len(flat):
            raise OverflowError
        with np.errstate(over="ignore"):
            return numbers.astype(dtype)
    integers = np.array(flat, np.uint64 if datatype == "UINT64" else np.int64)
    range_ = np.iinfo(dtype)
    if len(flat) and not range_.min <= integers.min() <= integers.max() <= range_.max:
        raise OverflowError
    return integers.astype(dtype)


def _misfit(flat: list[Any], datatype: Datatype) -> InvalidInput:
    """Return the fault of the first element of a wrong type, or of the first one that is out of range."""
    types = list(map(type, flat))
    wrong = [types.index(each) for each in set(types) - _TYPES[datatype]]
    if wrong:
        index = min(wrong)
    else:
        least, most = (-_FLOAT_MAX, _FLOAT_MAX)
        if not datatype.startswith("FP"):
            range_ = np.iinfo(_NUMPY[datatype])
            least, most = range_.min, range_.max
        index = next(place for place, value in enumerate(flat) if value is not None and not least <= value <= most)
    return InvalidInput(f"element {index} is not {datatype}", location=("data", index))


_FLOAT_MAX = 1.7976931348623157e308
# The types that elements have in JSON.
_TYPES: dict[Datatype, frozenset[type]] = {
    datatype: frozenset({str, NoneType} if datatype == "BYTES" else {bool} if datatype == "BOOL" else {int})
    if not datatype.startswith("FP")
    else frozenset({int, float, NoneType})
    for datatype in DATATYPES
}

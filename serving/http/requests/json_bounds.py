"""Bounds of JSON bodies, checked on their bytes before they are parsed and validated.

Parsing and validation run on the event loop and cannot be interrupted: 1.5 MB of unknown fields took 6 s. Their time
follows from the numbers of values, fields and escapes, and from the number of fields of one object, because each
unknown field is a fault, and each missing one copies its object. Other characters cost almost nothing.

The bytes of a body give upper bounds of these numbers at 3 GB/s. Only a body over one of the bounds is counted exactly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, TypeVar

import numpy as np
from pydantic import TypeAdapter
from pydantic_core import from_json

from models.errors import InputTooLarge, InvalidInput

T = TypeVar("T")
# Bodies of at most this size are validated as they are. The fast path takes no larger ones.
SMALL_BYTES: Final = 16 << 10
# What a value, a container or a field, and an escape add to the time of parsing and validation
# (`python -m tests.measure.hostile_json`, 2 cores of a Xeon).
_VALUE_US: Final = 0.11
_STRUCTURE_US: Final = 0.29
_ESCAPE_US: Final = 0.025
# A body of this size is within all bounds.
_TINY_BYTES: Final = 500
_PIECE_BYTES: Final = 256 << 10
_COMMA, _LIST, _OBJECT, _COLON, _ESCAPE, _QUOTE = (np.uint8(ord(each)) for each in ',[{:\\"')


@dataclass(frozen=True, slots=True)
class JsonBounds:
    """The longest estimated time of parsing a body, and the largest number of fields of one of its objects.

    The default time is that of 400,000 numbers, of 110,000 fields, or of 1.8 million escapes.
    """

    parsing_us: float = 45_000.0
    names: int = 256

    def allowing(self, *, values: int = 0, fields: int = 0, names: int = 0) -> JsonBounds:
        """Return these bounds, extended to a body with so many values and fields, and so many names in one object."""
        parsing_us = values * _VALUE_US + fields * (_VALUE_US + _STRUCTURE_US)
        return JsonBounds(max(self.parsing_us, parsing_us), max(self.names, names))


DEFAULT_BOUNDS: Final = JsonBounds()


@dataclass(slots=True)
class _Counts:
    """The numbers of values, containers, names and escapes in the bytes that were counted."""

    values: int = 1
    containers: int = 0
    names: int = 0
    escapes: int = 0

    def add(self, piece: Any) -> None:  # Any: an array of bytes
        commas, lists, objects, names, escapes = (
            int(np.count_nonzero(piece == each)) for each in (_COMMA, _LIST, _OBJECT, _COLON, _ESCAPE)
        )
        self.values += commas + lists + objects
        self.containers += lists + objects
        self.names += names
        self.escapes += escapes

    @property
    def parsing_us(self) -> float:
        """The estimated time of parsing and validation."""
        structure_us = _STRUCTURE_US * (self.containers + self.names)
        return _VALUE_US * self.values + structure_us + _ESCAPE_US * self.escapes


async def check_json(body: bytes | bytearray, bounds: JsonBounds = DEFAULT_BOUNDS) -> None:
    """Raise InputTooLarge or InvalidInput for a body over `bounds`. Other faults are left to the parser.

    Other tasks run between the steps.
    """
    if len(body) <= _TINY_BYTES:
        return
    counts, is_exact = _upper_bounds(body), False
    if counts.parsing_us > bounds.parsing_us:
        counts, is_exact = await _counted(body, counts.escapes), True
        if counts.parsing_us > bounds.parsing_us:
            raise InputTooLarge(
                f"the JSON has {counts.values} values, {counts.names} fields and {counts.escapes} escapes, more than "
                "one request may have; send less at a time, or characters in UTF-8 and tensors in binary form"
            )
    if counts.names > bounds.names and (tree := _parsed(body)) is not None:
        widest, total = _names_in(tree)
        if widest <= bounds.names < counts.names - total and not is_exact:
            counts = await _counted(body, counts.escapes)
        # A name that is repeated in one object counts once in `total`.
        _check_names(max(widest, counts.names - total), bounds)
    await asyncio.sleep(0)


def validate_many(adapter: TypeAdapter[T], body: bytes | bytearray, bounds: JsonBounds) -> T:
    """Return the validated value of a body with objects of many required fields, as `TypeAdapter.validate_json` does.

    Validation of bytes copies an object for each field that it lacks. Where objects may be large, because they have
    many fields or lists, the value is parsed first. Raises InvalidInput for an object over `bounds`, and pydantic's
    ValidationError.
    """
    has_lists = body.find(b"[", body.find(b"[") + 1) >= 0
    if len(body) <= SMALL_BYTES and not has_lists and (len(body) <= _TINY_BYTES or body.count(b":") <= bounds.names):
        return adapter.validate_json(body)
    tree = _parsed(body)
    if tree is None:
        return adapter.validate_json(body)
    _check_names(_names_in(tree)[0], bounds)
    return adapter.validate_python(tree)


def _upper_bounds(body: bytes | bytearray) -> _Counts:
    counts, content = _Counts(), np.frombuffer(body, np.uint8)
    for start in range(0, len(content), _PIECE_BYTES):
        counts.add(content[start : start + _PIECE_BYTES])
    return counts


async def _counted(body: bytes | bytearray, escapes: int) -> _Counts:
    """Return the numbers of a body with `escapes`, without the characters inside its strings."""
    counts, is_inside = _Counts(), False
    for piece in _without_escapes(body):
        content = np.frombuffer(piece, np.uint8)
        inside = np.logical_xor.accumulate(content == _QUOTE) ^ is_inside
        counts.add(content[~inside])
        is_inside = bool(inside[-1])
        await asyncio.sleep(0)
    counts.escapes = escapes
    return counts


def _without_escapes(body: bytes | bytearray) -> Iterator[bytes]:
    """Yield the pieces of a body, its escaped quotes and backslashes replaced. No piece ends inside an escape."""
    start = 0
    while start < len(body):
        piece = bytes(body[start : start + _PIECE_BYTES])
        if (len(piece) - len(piece.rstrip(b"\\"))) % 2 and len(piece) > 1:
            piece = piece[:-1]
        start += len(piece)
        yield piece.replace(b"\\\\", b"__").replace(b'\\"', b"__")


def _parsed(body: bytes | bytearray) -> Any:  # Any: JSON
    """Return the value of a body, or None for one that is not JSON, which the validation reports."""
    try:
        return from_json(body)
    except ValueError:
        return None


def _names_in(tree: Any) -> tuple[int, int]:  # Any: JSON
    """Return the number of names of the widest object, and of all objects."""
    widest = total = 0
    level: list[Any] = [tree] if isinstance(tree, dict | list) else []
    while level:
        sizes = [len(each) for each in level if type(each) is dict]
        widest, total = max(widest, *sizes, 0), total + sum(sizes)
        members = chain.from_iterable(each.values() if type(each) is dict else each for each in level)
        level = [member for member in members if type(member) is dict or type(member) is list]
    return widest, total


def _check_names(names: int, bounds: JsonBounds) -> None:
    if names > bounds.names:
        message = f"an object has {names} fields; this operation takes objects of at most {bounds.names}"
        raise InvalidInput(message, location=("body",))

"""Round-trip tests: forms written by a real client, and tensors."""

from __future__ import annotations

import asyncio
import math
from typing import Any, Literal

import httpx
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from serving.http.requests.multipart import MAX_FIELD_BYTES, parse
from serving.open_inference.codec import read, write
from serving.open_inference.tensors import (
    DATATYPES,
    Datatype,
    Tensor,
    from_binary,
    from_json,
    text_tensor,
    to_binary,
    to_json,
)
from tests.fuzz.corpus import fuzzing

# Without quotes and control characters, which each client escapes in a different way.
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters='"\\'), min_size=1)


@fuzzing
@given(st.lists(st.tuples(names, names, st.binary(max_size=200)), max_size=4),
       st.lists(st.tuples(names, st.text(max_size=MAX_FIELD_BYTES // 4)), max_size=4))  # fmt: skip
def test_form_of_a_client_is_read_unchanged(files: list[tuple[str, str, bytes]], fields: list[tuple[str, str]]) -> None:
    parts: list[Any] = [(name, (file, data)) for name, file, data in files]
    parts += [(name, (None, text)) for name, text in fields]
    request = httpx.Request("POST", "http://x", files=parts)
    if not parts:
        return

    boundary = request.headers["content-type"].partition("boundary=")[2].encode()
    parsed = parse(request.read(), boundary, max_parts=8)

    expected = [(name, data, True) for name, _, data in files]
    # A field of a page that was not filled in is left out.
    expected += [(name, text.encode(), False) for name, text in fields if text]
    assert [(part.name, part.data, part.is_file) for part in parsed] == expected


_WIDTHS: dict[Datatype, Literal[16, 32, 64]] = {"FP16": 16, "FP32": 32, "FP64": 64}


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    datatype: Datatype = draw(st.sampled_from(DATATYPES))
    shape = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    count = math.prod(shape)
    if datatype == "BYTES":
        # JSON holds only valid text; the binary form holds any bytes.
        texts = draw(st.lists(st.text(max_size=9), min_size=count, max_size=count))
        return text_tensor("t", [text.encode() for text in texts], shape)
    values: NDArray[Any]
    if datatype == "BOOL":
        values = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)), np.bool_)
    elif datatype.startswith("FP"):
        floats = st.floats(width=_WIDTHS[datatype], allow_nan=False, allow_infinity=False)
        values = np.array(draw(st.lists(floats, min_size=count, max_size=count)), f"<f{_WIDTHS[datatype] // 8}")
    else:
        dtype = np.dtype(datatype.lower())
        ends = np.iinfo(dtype)
        numbers = st.integers(int(ends.min), int(ends.max))
        values = np.array(draw(st.lists(numbers, min_size=count, max_size=count)), dtype)
    return Tensor("t", datatype, values.reshape(shape))


@fuzzing
@given(tensors())
def test_tensor_round_trip(tensor: Tensor) -> None:
    for copy in (
        from_json("t", tensor.datatype, tensor.shape, to_json(tensor)),
        from_binary("t", tensor.datatype, tensor.shape, memoryview(to_binary(tensor))),
    ):
        assert copy.shape == tensor.shape
        assert copy.datatype == tensor.datatype
        np.testing.assert_array_equal(copy.values, tensor.values)


@pytest.mark.slow
@fuzzing
@given(st.lists(tensors(), min_size=1, max_size=3), st.booleans())
def test_response_can_be_read_as_a_request(drawn: list[Tensor], is_binary: bool) -> None:
    """Requests and responses have the same format, so the reader, which other tests check, checks the writer."""
    named = [Tensor(f"t{index}", each.datatype, each.values) for index, each in enumerate(drawn)]
    request = {"inputs": [{"name": "x", "datatype": "BYTES", "shape": [0], "data": []}]}
    parsed = asyncio.run(read(orjson.dumps(request | {"parameters": {"binary_data_output": is_binary}}), None))

    body, length = write(parsed, named, model="m", version="v")

    assert (length is not None) == is_binary
    head = orjson.dumps({"inputs": orjson.loads(body[:length])["outputs"]})
    reread = asyncio.run(read(head + body[length or len(body) :], str(len(head))))
    for before, after in zip(named, reread.inputs, strict=True):
        assert (after.name, after.datatype, after.shape) == (before.name, before.datatype, before.shape)
        np.testing.assert_array_equal(after.values, before.values)

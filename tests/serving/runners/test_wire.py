"""Frames keep their content, and everything else is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import DeadlineExceeded, InvalidInput, NotKnown, PredictionFailed
from serving.runners.interface import ModelRef
from serving.runners.wire import (
    DTYPES,
    FrameInvalid,
    WireRequest,
    WireResponse,
    decode_requests,
    decode_responses,
    encode_requests,
    encode_responses,
)

MODEL = ModelRef("table", "v7")


def request(payload: Any, name: str = "a", deadline: float = 105.0) -> WireRequest:
    return WireRequest(payload, len(payload), name, deadline, "00-trace")


def frame(header: dict[str, Any], body: bytes = b"") -> bytes:
    head = orjson.dumps(header)
    return len(head).to_bytes(4, "little") + head + body


@pytest.mark.parametrize("dtype", sorted(DTYPES))
@pytest.mark.parametrize("row", [(), (3,), (2, 2, 3)])
def test_arrays_are_unchanged(dtype: str, row: tuple[int, ...]) -> None:
    parts = [np.arange(rows * int(np.prod(row)), dtype="int64").reshape(rows, *row).astype(dtype) for rows in (1, 4, 2)]
    sent = b"".join(encode_requests([request(part, str(index)) for index, part in enumerate(parts)], now=100.0))
    got = decode_requests(sent, now=7.0)
    for part, each in zip(parts, got, strict=True):
        assert each.payload.dtype == part.dtype  # type: ignore[union-attr]
        np.testing.assert_array_equal(each.payload, part)
    assert [each.request_id for each in got] == ["0", "1", "2"]
    assert [each.rows for each in got] == [1, 4, 2]
    # Five seconds remain on both sides: the clocks of two hosts differ.
    assert all(each.deadline == pytest.approx(12.0) for each in got)
    assert all(each.traceparent == "00-trace" for each in got)


def test_an_array_that_is_not_contiguous_keeps_its_values() -> None:
    turned = np.arange(12, dtype=np.float32).reshape(3, 4).T
    got = decode_requests(b"".join(encode_requests([request(turned)], now=0)), now=0)
    np.testing.assert_array_equal(got[0].payload, turned)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False, width=32),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@given(st.lists(st.lists(st.dictionaries(st.text(), json_values, max_size=3), max_size=3), min_size=1, max_size=4))
def test_json_is_unchanged(payloads: list[list[dict[str, Any]]]) -> None:
    got = decode_requests(b"".join(encode_requests([request(each) for each in payloads], now=0)), now=0)
    assert [each.payload for each in got] == payloads


def test_answers_and_errors_keep_their_order() -> None:
    answers: list[WireResponse | Exception] = [
        WireResponse(np.ones((2, 3), np.float32), MODEL),
        InvalidInput("age is out of range", location=("body", 0, "age")),
        WireResponse(np.zeros((1, 3), np.float32), ModelRef("table", "v8")),
        DeadlineExceeded("late"),
    ]
    got = decode_responses(b"".join(encode_responses(answers)))
    assert isinstance(got[0], WireResponse)
    assert isinstance(got[2], WireResponse)
    assert (got[0].payload.shape, got[0].model) == ((2, 3), MODEL)  # type: ignore[union-attr]
    assert got[2].model.version == "v8"
    assert isinstance(got[1], InvalidInput)
    assert (str(got[1]), got[1].location) == ("age is out of range", ("body", 0, "age"))
    assert isinstance(got[3], DeadlineExceeded)


@pytest.mark.parametrize("error", [ValueError("/var/secret"), PredictionFailed("/var/secret"), OSError(2, "secret")])
def test_the_message_of_a_model_is_not_sent(error: Exception) -> None:
    sent = b"".join(encode_responses([error]))
    assert b"secret" not in sent
    assert isinstance(decode_responses(sent)[0], PredictionFailed)


def test_the_message_of_an_input_error_is_sent() -> None:
    (got,) = decode_responses(b"".join(encode_responses([NotKnown("no user 'x'")])))
    assert isinstance(got, NotKnown)
    assert str(got) == "no user 'x'"


GOOD = {"items": [[1, "a", 1.0, ""]], "kind": "rows", "dtype": "uint8", "row": [2]}


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\x01",
        b"\xff\xff\xff\xff{}",
        frame(GOOD)[:10],
        (9).to_bytes(4, "little") + b"not json!",
        frame([]),  # type: ignore[arg-type]
        frame({}),
        frame(GOOD, b"x"),
        frame(GOOD, b"xxx"),
        frame(GOOD | {"row": [-2]}, b"xx"),
        frame(GOOD | {"row": [2**62, 2**62]}, b"xx"),
        frame(GOOD | {"row": "2"}, b""),
        frame(GOOD | {"row": [1] * 40}, b"x"),
        frame(GOOD | {"items": [[-1, "a", 1.0, ""]]}),
        frame(GOOD | {"items": [[2, "a", 1.0, ""]]}, b"xx"),
        frame(GOOD | {"items": [[1, "a"]]}, b"xx"),
        frame(GOOD | {"items": 3}, b"xx"),
        frame(GOOD | {"dtype": "object"}, b"xx"),
        frame(GOOD | {"dtype": "O"}, b"xx"),
        frame(GOOD | {"dtype": ["uint8"]}, b"xx"),
        frame(GOOD | {"kind": "pickle"}, b"xx"),
        frame(GOOD | {"kind": "json"}, b"[1]"),
        frame(GOOD | {"kind": "json"}, b"{}"),
        frame(GOOD | {"kind": "json"}, b"[{}, {}]"),
        frame(GOOD | {"kind": "json"}, b"[{"),
    ],
)
def test_what_is_not_a_frame_is_refused(sent: bytes) -> None:
    with pytest.raises(FrameInvalid):
        decode_requests(sent, now=0)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(sent: bytes) -> None:
    for decode in (lambda: decode_requests(sent, now=0), lambda: decode_responses(sent)):
        with pytest.raises(FrameInvalid):
            decode()

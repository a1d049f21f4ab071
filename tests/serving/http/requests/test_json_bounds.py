"""Tests of the bounds of JSON bodies: what is counted, what is refused, and that no other body is."""

from __future__ import annotations

import asyncio

import orjson
import pytest
from pydantic import TypeAdapter, ValidationError

from models.errors import InputError, InputTooLarge, InvalidInput
from serving.http.requests.json_bounds import DEFAULT_BOUNDS, JsonBounds, check_json, validate_many
from tests.hostile_json import names, repeated

NAMES = DEFAULT_BOUNDS.names


def refusal(body: bytes, bounds: JsonBounds = DEFAULT_BOUNDS) -> type[InputError] | None:
    """Return the class of the error that `check_json` raises."""
    try:
        asyncio.run(check_json(body, bounds))
    except InputError as error:
        return type(error)
    return None


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(repeated(b"0", size=800_000), id="400,000 numbers"),
        pytest.param(b'{"rows":%b}' % repeated(b"{%b}" % names(20), size=400_000), id="rows"),
        pytest.param(b'{"text":"%b"}' % (b'[,{:\\"\\\\' * 200_000), id="structure in a text"),
        pytest.param(b'{"text":"%b"}' % (rb"\u4e2d" * 1_500_000), id="escaped text"),
        pytest.param(b'["%b"]' % (b"x" * (16 << 20)), id="long text"),
        pytest.param(b"{%b}" % names(NAMES), id="the widest object"),
        pytest.param(b"{%b" % names(5_000), id="no JSON"),
    ],
)
def test_bodies_within_the_bounds_are_left_to_the_parser(body: bytes) -> None:
    assert refusal(body) is None


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(repeated(b"0", size=1_000_000), id="500,000 numbers"),
        pytest.param(repeated(b"[]", size=400_000), id="lists"),
        pytest.param(b"{%b}" % names(120_000), id="fields"),
        pytest.param(b'["%b",%b]' % (b'\\"' * 300_001, repeated(b"[]", size=400_000)), id="lists after a text"),
        pytest.param(b'{"text":"%b"}' % (rb"\u4e2d" * 1_900_000), id="escaped text"),
    ],
)
def test_bodies_that_take_too_long_to_parse_are_too_large(body: bytes) -> None:
    assert refusal(body) is InputTooLarge


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"{%b}" % names(NAMES + 1), id="at the top"),
        pytest.param(b'[[{"a":{%b}}]]' % names(NAMES + 1), id="inside"),
        pytest.param(b'{%b,"a":0}' % b",".join([b'"a":0'] * 2 * NAMES), id="repeated"),
    ],
)
def test_objects_of_too_many_fields_are_invalid(body: bytes) -> None:
    assert refusal(body) is InvalidInput


def test_an_operation_with_larger_requests_has_larger_bounds() -> None:
    body = repeated(b"{%b}" % names(300), size=1_000_000)

    assert refusal(body, DEFAULT_BOUNDS.allowing(fields=200_000, names=300)) is None


@pytest.mark.parametrize("size", [10, 100_000])
def test_small_and_large_bodies_are_validated_alike(size: int) -> None:
    adapter = TypeAdapter(dict[str, list[int]])

    assert validate_many(adapter, b'{"a":%b}' % repeated(b"1", size=size), DEFAULT_BOUNDS) == {"a": [1] * (size // 2)}
    for wrong in (b'{"a":%b' % repeated(b"1", size=size), b'{"a":%b}' % repeated(b'"x"', size=size)):
        with pytest.raises(ValidationError):
            validate_many(adapter, wrong, DEFAULT_BOUNDS)


def test_a_small_body_with_a_wide_object_is_refused_before_its_validation() -> None:
    with pytest.raises(InvalidInput, match="an object has 1000 fields"):
        validate_many(TypeAdapter(dict[str, int]), orjson.dumps({str(n): n for n in range(1000)}), DEFAULT_BOUNDS)

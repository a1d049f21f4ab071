"""Lists, parameters and weights in header fields."""

from __future__ import annotations

import time

import pytest

from serving.header_fields import elements, entity_tags, parameters, weights


@pytest.mark.parametrize(
    ("values", "expected"),
    [(["a, b ,c"], ["a", "b", "c"]), (["a", "b,c"], ["a", "b", "c"]), ([" , a,,"], ["a"]), ([""], []),
     (['a="1,2";b, "x, y", c'], ['a="1,2";b', '"x, y"', "c"]), ([r'"a\",b", c'], [r'"a\",b"', "c"]),
     (['a, "b, c'], ["a", '"b, c'])],
)  # fmt: skip
def test_a_list_is_split_at_commas_outside_of_quoted_strings(values: list[str], expected: list[str]) -> None:
    assert [*elements(values)] == expected


@pytest.mark.parametrize(
    ("element", "expected"),
    [("text/csv", ("text/csv", {})), ("text/csv;Header=present", ("text/csv", {"header": "present"})),
     ('a; x="b;c" ; y=d', ("a", {"x": "b;c", "y": "d"})), (r'a;x="b\"c"', ("a", {"x": 'b"c'})),
     ("a;x=1;x=2", ("a", {"x": "1"})), ("a;flag", ("a", {"flag": ""})), ("", ("", {})), ('a;x="b', ("a", {"x": "b"}))],
)  # fmt: skip
def test_parameters_are_read_with_their_quotes(element: str, expected: tuple[str, dict[str, str]]) -> None:
    assert parameters(element) == expected


def test_weights_are_numbers_from_0_to_1() -> None:
    assert weights(["gzip;q=0.5, br; q=1.000", "Identity;Q=0, x;q=0.0, y;q=2, z;q=a, *"]) == {
        "gzip": 0.5, "br": 1, "identity": 0, "x": 0, "y": 1, "z": 1, "*": 1,
    }  # fmt: skip


def test_entity_tags_are_compared_weakly() -> None:
    assert entity_tags(['W/"a", "b, c"', '"d"']) == {'"a"', '"b, c"', '"d"'}


@pytest.mark.parametrize("text", ['"' * 60_000, "a," * 30_000, '"\\' * 30_000, ';q="' * 15_000, "a;" * 30_000])
def test_hostile_values_take_linear_time(text: str) -> None:
    began = time.process_time()
    weights([text])
    parameters(text)
    assert time.process_time() - began < 1

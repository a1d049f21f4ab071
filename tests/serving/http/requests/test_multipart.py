"""Multipart bodies are read whole, within limits, whatever is in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors.exceptions import FieldFault, Malformed
from serving.http.requests.multipart import MAX_FIELD_BYTES, Part, fields, files, parse

BOUNDARY = b"bOuNdArY"


def body(*parts: bytes, end: bytes = b"--") -> bytes:
    return b"".join(b"--" + BOUNDARY + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + BOUNDARY + end + b"\r\n"


def field(name: str, value: bytes) -> bytes:
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value


def file(name: str, data: bytes) -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"; filename="x.png"\r\nContent-Type: image/png\r\n\r\n'
    return head.encode() + data


def read(data: bytes, max_parts: int = 9) -> list[Part]:
    return parse(data, BOUNDARY, max_parts=max_parts)


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"\r\n", b"--" + BOUNDARY[:-1], b"\r\n--", b"\r\n--bOuNdArX\r\n"])
)
def test_a_files_bytes_arrive_as_they_are(data: bytes, tricky: bytes) -> None:
    whole = data + tricky + data
    if b"\r\n--" + BOUNDARY not in b"\r\n" + whole:
        assert read(body(file("image", whole), field("top_k", b"3"))) == [
            Part("image", whole, is_file=True),
            Part("top_k", b"3", is_file=False),
        ]


@given(st.binary(max_size=400))
def test_any_bytes_are_parts_or_malformed(data: bytes) -> None:
    for each in (data, body(data), body(file("image", data))):
        try:
            parts = read(each)
        except Malformed:
            continue
        assert all(isinstance(part.data, bytes) for part in parts)


@pytest.mark.parametrize("data", [b"", b"--", body(file("image", b"x"))[:-8], body(file("image", b"x"), end=b"")])
def test_a_body_without_its_end_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        read(data)


def test_a_part_with_a_content_type_that_is_no_text_is_a_file() -> None:
    head = b'Content-Disposition: form-data; name="image"\r\nContent-Type: '
    parts = read(body(head + b"image/png\r\n\r\nx", head + b"text/plain; charset=utf-8\r\n\r\nx"))

    assert [part.is_file for part in parts] == [True, False]


def test_names_are_unicode() -> None:
    assert read(body(field("größe", b"1")))[0].name == "größe"


def test_there_is_a_limit_on_parts() -> None:
    assert len(read(body(*[field("a", b"1")] * 9))) == 9
    with pytest.raises(Malformed, match="more than 9 parts"):
        read(body(*[field("a", b"1")] * 10))


def test_there_is_a_limit_on_fields_but_not_on_files() -> None:
    assert len(read(body(file("image", b"x" * 10 * MAX_FIELD_BYTES)))[0].data) == 10 * MAX_FIELD_BYTES
    with pytest.raises(Malformed, match="longer than"):
        read(body(field("top_k", b"1" * (MAX_FIELD_BYTES + 1))))


@pytest.mark.parametrize(
    ("text", "value"),
    [(b"5", 5), (b"-1", -1), (b"0.5", 0.5), (b"1e-1", 0.1), (b"1E2", 100.0)]
    + [
        (text.encode(), text)
        for text in ("", " 5", "5 ", "05", "+5", ".5", "5.", "1_0", "0x1", "NaN", "inf", "٣", "true")
    ],
)
def test_numbers_are_those_of_json(text: bytes, value: object) -> None:
    found = fields(read(body(field("top_k", text))), beside="image")

    assert found == {"top_k": value}
    assert type(found["top_k"]) is type(value)


def test_files_come_in_order() -> None:
    parts = read(body(file("images", b"1"), field("top_k", b"2"), file("images", b"3")))

    assert files(parts, "images", at_most=2) == [b"1", b"3"]
    with pytest.raises(FieldFault, match="only one 'images'"):
        files(parts, "images", at_most=1)

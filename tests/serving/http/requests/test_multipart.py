"""Multipart bodies are read within limits, in chunks of any size, with the details of RFC 7578."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors.exceptions import FieldFault, Malformed
from serving.http.requests.form_reader import FormReader, PartHeader, boundary_of
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
def test_a_body_without_its_last_boundary_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        read(data)


def test_a_part_with_a_content_type_that_is_not_text_is_a_file() -> None:
    head = b'Content-Disposition: form-data; name="image"\r\nContent-Type: '
    parts = read(body(head + b"image/png\r\n\r\nx", head + b"text/plain; charset=utf-8\r\n\r\nx"))

    assert [part.is_file for part in parts] == [True, False]


@pytest.mark.parametrize(
    "preamble", [b"", b"\r\n", b"This is a form.\r\n", b"--other\r\n\r\n--bOuNdAr\r\n", b"x" * 9000 + b"\r\n"]
)
@pytest.mark.parametrize("epilogue", [b"", b"\r\n", b"That was it.", b"\r\n--" + BOUNDARY + b"\r\nmore"])
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_preamble_and_epilogue_are_ignored(preamble: bytes, epilogue: bytes, size: int) -> None:
    whole = preamble + body(field("a", b"1")) + epilogue
    reader = FormReader(BOUNDARY)
    events = [each for start in range(0, len(whole), size) for each in reader.feed(whole[start : start + size])]
    reader.close()
    assert events == [PartHeader("a", None, ""), b"1", None]


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [("multipart/form-data; boundary=a=b/c:d", b"a=b/c:d"), ('multipart/form-data; Boundary="a;b\\"c"', b'a;b"c'),
     ('multipart/form-data; x="; boundary=y"; boundary=z', b"z"),
     ("multipart/form-data;boundary=a;charset=utf-8", b"a")],
)  # fmt: skip
def test_a_boundary_is_read_as_a_parameter(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


def test_names_are_unicode() -> None:
    assert read(body(field("größe", b"1")))[0].name == "größe"


def test_the_number_of_parts_is_limited() -> None:
    assert len(read(body(*[field("a", b"1")] * 9))) == 9
    with pytest.raises(Malformed, match="more than 9 parts"):
        read(body(*[field("a", b"1")] * 10))


def test_fields_have_a_size_limit_and_files_have_none() -> None:
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
    values = fields(read(body(field("top_k", text))), beside="image")

    assert values == {"top_k": value}
    assert type(values["top_k"]) is type(value)


def test_files_come_in_order() -> None:
    parts = read(body(file("images", b"1"), field("top_k", b"2"), file("images", b"3")))

    assert files(parts, "images", at_most=2) == [b"1", b"3"]
    with pytest.raises(FieldFault, match="only one 'images'"):
        files(parts, "images", at_most=1)


def headers_of(disposition: bytes, *more: bytes) -> list[PartHeader]:
    lines = b"\r\n".join((b"Content-Disposition: form-data; " + disposition, *more))
    events = list(FormReader(BOUNDARY).feed(body(lines + b"\r\n\r\nx")))
    return [event for event in events if isinstance(event, PartHeader)]


@pytest.mark.parametrize(
    ("disposition", "name", "file_name"),
    [
        (b'name="a"', "a", None),
        (b"name=a; filename=b.png", "a", "b.png"),
        (b'name="a"; filename=""', "a", ""),
        (b'name="a\\"b"; filename="c\\"d"', 'a"b', 'c"d'),
        (b'name="a%22b"; filename="c%0Ad"', 'a"b', "c\nd"),
        ('name="größe"; filename="naïve.png"'.encode(), "größe", "naïve.png"),
        ('name="a"; filename="naïve.png"'.encode("latin-1"), "a", "na\ufffdve.png"),
        (b"name=\"a\"; filename*=UTF-8''na%C3%AFve.png", "a", "naïve.png"),
        (b"name=\"a\"; filename*=unknown''b.png", "a", "b.png"),
        (b'name="a"; filename="b.png"; filename*=UTF-8\'\'c.png', "a", "b.png"),
        (b'name="a; filename*=b"', "a; filename*=b", None),
    ],
)
def test_names_are_those_of_the_disposition(disposition: bytes, name: str, file_name: str | None) -> None:
    (header,) = headers_of(disposition)
    assert (header.name, header.file_name) == (name, file_name)


def test_a_disposition_of_many_quotation_marks_takes_linear_time() -> None:
    disposition = b'Content-Disposition: form-data; name="a"; filename*=a; x="' + b'\\"' * 1900
    begun = time.process_time()
    assert len(read(body(*[disposition + b"\r\n\r\nx"] * 30), max_parts=30)) == 30
    # It took 2 s.
    assert time.process_time() - begun < 0.5


def test_a_part_with_an_extended_file_name_alone_is_a_file() -> None:
    part = b"Content-Disposition: form-data; name=\"image\"; filename*=utf-8''na%C3%AFve.png\r\n\r\nx"
    assert read(body(part)) == [Part("image", b"x", is_file=True)]


@pytest.mark.parametrize(
    "data",
    [
        b"a preamble\r\n" * 2000 + body(field("a", b"1")),
        body(b"Content-Disposition: form-data\r\n\r\nx"),
        body(b"Content-Type: text/plain\r\n\r\nx"),
        body(b'Content-Disposition: form-data; name="' + b"n" * 5000 + b'"\r\n\r\nx'),
        body(field("a", b"1").replace(b"\r\n\r\n", b"\r\n" + b"X-More: 1\r\n" * 8 + b"\r\n")),
        body(field("a", b"1")).replace(b"\r\n", b"\n"),
        # A line that begins with the delimiter is a boundary line (RFC 2046, 5.1.1).
        body(file("image", b"\r\n--" + BOUNDARY + b"x")),
    ],
)
def test_what_the_rfc_or_a_limit_excludes_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        read(data)


@given(st.binary(max_size=300), st.integers(1, 40))
def test_chunks_of_any_size_are_the_same_parts(data: bytes, size: int) -> None:
    whole = b"\r\n" + body(file("image", data), field("a", b"1")) + b"an epilogue"
    if b"\r\n--" + BOUNDARY in b"\r\n" + data:
        return
    reader = FormReader(BOUNDARY)
    contents: list[bytes] = []
    for start in range(0, len(whole), size):
        for event in reader.feed(whole[start : start + size]):
            if isinstance(event, PartHeader):
                contents.append(b"")
            elif event is not None:
                contents[-1] += event
    reader.close()

    assert contents == [data, b"1"]


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ("multipart/form-data; charset=utf-8; Boundary=abc; x=y", b"abc"),
        ('multipart/form-data; boundary="a b;c"', b"a b;c"),
        ("multipart/form-data;boundary=----=_Part_1/2:3?4", b"----=_Part_1/2:3?4"),
    ],
)
def test_the_boundary_is_read_quoted_or_not(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=", 'x; boundary=""'])
def test_a_form_without_a_boundary_is_malformed(content_type: str) -> None:
    with pytest.raises(Malformed, match="lacks its boundary"):
        boundary_of(content_type)

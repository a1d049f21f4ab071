"""Reads multipart bodies (RFC 7578) in memory, within limits. Knows parts, not what is in them.

Whole bodies are in memory anyway (they are limited while they stream in); parsing them there touches no disk and no
thread, which Starlette's own form parser does.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from serving.errors.exceptions import FieldFault, Malformed
from serving.http.requests.json_body import check_content_type

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MULTIPART = "multipart/form-data"
MAX_FIELD_BYTES = 4096
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,308})(\.\d{1,1000})?([eE][+-]?\d{1,5})?")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a body. A file has a filename, or a content type that is no text (RFC 7578, 4.2 and 4.4)."""

    name: str
    data: bytes
    is_file: bool


async def read_parts(request: Request, *, max_parts: int) -> list[Part]:
    """The parts of a multipart body, in order. Raises UnsupportedMedia, or Malformed."""
    check_content_type(request, MULTIPART)
    _, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if not boundary:
        raise Malformed(f"the Content-Type {MULTIPART} lacks its boundary")
    return parse(await request.body(), boundary, max_parts=max_parts)


def parse(body: bytes, boundary: bytes, *, max_parts: int) -> list[Part]:
    """The parts of `body`. Raises Malformed when it is not whole, or has more than `max_parts` parts."""
    collector = _Collector(max_parts)
    try:
        parser = MultipartParser(boundary, collector.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise Malformed("the multipart body cannot be parsed") from error
    if not collector.ended:
        raise Malformed("the multipart body ends before its last boundary")
    return collector.parts


def files(parts: list[Part], name: str, *, at_most: int) -> list[bytes]:
    """The files called `name`, 1 to `at_most`. Raises FieldFault."""
    named = [part for part in parts if part.name == name]
    if not named:
        raise FieldFault(f"a file part '{name}' is required", location=("body", name), value_type="absent")
    if len(named) > at_most:
        only = "only one" if at_most == 1 else f"at most {at_most}"
        message = f"{only} '{name}' may be sent at a time, not {len(named)}"
        raise FieldFault(message, location=("body", name), value_type="array")
    for index, part in enumerate(named):
        if not part.is_file:
            where = ("body", name) if at_most == 1 else ("body", name, index)
            message = f"'{name}' has to be a file part, with a filename; text and addresses are not read"
            raise FieldFault(message, location=where, value_type="string")
    return [part.data for part in named]


def fields(parts: list[Part], *, beside: str, texts: Collection[str] = ()) -> Mapping[str, object]:
    """The parts not called `beside`, numbers as numbers but in the fields `texts`.

    Raises FieldFault for a file, and for a field given twice.
    """
    found: dict[str, object] = {}
    for part in parts:
        if part.name == beside:
            continue
        if part.is_file:
            raise FieldFault("There is no such file", location=("body", part.name), value_type="file")
        if part.name in found:
            raise FieldFault("given more than once", location=("body", part.name), value_type="array")
        found[part.name] = part.data.decode("utf-8", errors="replace") if part.name in texts else _value(part.data)
    return found


def _value(data: bytes) -> object:
    text = data.decode("utf-8", errors="replace")
    number = _JSON_NUMBER.fullmatch(text)
    if number is None:
        return text
    return int(text) if number[1] is number[2] is None else float(text)


class _Collector:
    """Gathers what the parser finds."""

    def __init__(self, max_parts: int) -> None:
        self.parts: list[Part] = []
        self.ended = False
        self._max_parts = max_parts
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._disposition = b""
        self._content_type = b""
        self._name = ""
        self._is_file = False
        self._data: list[bytes] = []
        self._field_bytes = 0

    def callbacks(self) -> MultipartCallbacks:
        """By the names that the parser knows."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header_name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header_value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_headers_finished": self._headers,
            "on_part_data": self._chunk,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        if len(self.parts) == self._max_parts:
            raise Malformed(f"the multipart body has more than {self._max_parts} parts")
        self._disposition, self._content_type, self._data, self._field_bytes = b"", b"", [], 0

    def _header(self) -> None:
        name = bytes(self._header_name).lower()
        if name == b"content-disposition":
            self._disposition = bytes(self._header_value)
        elif name == b"content-type":
            self._content_type = bytes(self._header_value).strip().lower()
        self._header_name.clear()
        self._header_value.clear()

    def _headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name")
        if name is None:
            raise Malformed("a part of the multipart body has no name")
        self._name = name.decode("utf-8", errors="replace")
        self._is_file = b"filename" in options or b"filename*" in options or self._is_binary()

    def _is_binary(self) -> bool:
        return bool(self._content_type) and not self._content_type.startswith((b"text/", b"application/json"))

    def _chunk(self, data: bytes, start: int, end: int) -> None:
        self._data.append(data[start:end])
        self._field_bytes += end - start
        if not self._is_file and self._field_bytes > MAX_FIELD_BYTES:
            raise Malformed(f"a field of the multipart body is longer than {MAX_FIELD_BYTES} bytes")

    def _end(self) -> None:
        data = self._data[0] if len(self._data) == 1 else b"".join(self._data)
        self.parts.append(Part(self._name, data, self._is_file))

    def _finish(self) -> None:
        self.ended = True

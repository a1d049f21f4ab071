"""Multipart requests: read the parts into memory within limits, and take files and fields from them.

The body of a request is in memory already, because the size limit counts it while it arrives. Reading the parts there
uses no disk and no thread, unlike Starlette's form parser.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from serving.errors.exceptions import FieldFault, Malformed
from serving.http.requests.form_reader import MULTIPART, FormReader, PartHeader, boundary_of
from serving.http.requests.json_body import check_content_type

__all__ = ["MAX_FIELD_BYTES", "MULTIPART", "Part", "fields", "files", "parse", "read_parts"]

MAX_FIELD_BYTES: Final = 4096
# Room for buttons, and for hidden fields of pages.
_MORE_PARTS: Final = 4
_TEXT_TYPES = ("text/", "application/json")
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,308})(\.\d{1,1000})?([eE][+-]?\d{1,5})?")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a body. A file has a filename, or a content type that is not text (RFC 7578, 4.2 and 4.4)."""

    name: str
    data: bytes
    is_file: bool


async def read_parts(request: Request, *, max_parts: int) -> list[Part]:
    """Return the parts of a multipart body in order. Raises UnsupportedMedia, Malformed."""
    check_content_type(request, MULTIPART)
    boundary = boundary_of(request.headers.get("content-type", ""))
    return parse(await request.body(), boundary, max_parts=max_parts)


def parse(body: bytes, boundary: bytes, *, max_parts: int) -> list[Part]:
    """Return the parts of `body`, without those that the form of a page sends for a button or for nothing.

    Raises Malformed for an incomplete body and for more than `max_parts` parts.
    """
    reader = FormReader(boundary, max_parts=max_parts + _MORE_PARTS)
    parts: list[Part] = []
    header, is_file, size, chunks = PartHeader("", None, ""), False, 0, list[bytes]()
    for event in reader.feed(body):
        if event is None:
            # A field that was not filled in is empty, and so are content and name of a file that was not chosen.
            if not header.is_of_page and (size or header.file_name):
                parts.append(Part(header.name, chunks[0] if len(chunks) == 1 else b"".join(chunks), is_file))
        elif isinstance(event, PartHeader):
            header, is_file, size, chunks = event, _is_file(event), 0, []
        else:
            size += len(event)
            if not is_file and size > MAX_FIELD_BYTES:
                raise Malformed(f"a field of the multipart body is longer than {MAX_FIELD_BYTES} bytes")
            chunks.append(event)
    reader.close()
    return parts


def files(parts: list[Part], name: str, *, at_most: int) -> list[bytes]:
    """Return the content of the file parts called `name`, 1 to `at_most` of them. Raises FieldFault."""
    named = [part for part in parts if part.name == name]
    if not named:
        raise FieldFault(f"a file part '{name}' is required", location=("body", name), value_type="absent")
    if len(named) > at_most:
        limit = "only one" if at_most == 1 else f"at most {at_most}"
        message = f"{limit} '{name}' may be sent at a time, not {len(named)}"
        raise FieldFault(message, location=("body", name), value_type="array")
    for index, part in enumerate(named):
        if not part.is_file:
            location = ("body", name) if at_most == 1 else ("body", name, index)
            message = f"'{name}' has to be a file part, with a filename; text and addresses are not read"
            raise FieldFault(message, location=location, value_type="string")
    return [part.data for part in named]


def fields(parts: list[Part], *, beside: str, texts: Collection[str] = ()) -> Mapping[str, object]:
    """Return the values of the parts that are not called `beside`. Numbers are converted, except in the fields `texts`.

    Raises FieldFault for a file, and for a field that is sent twice.
    """
    values: dict[str, object] = {}
    for part in parts:
        if part.name == beside:
            continue
        if part.is_file:
            raise FieldFault("There is no such file", location=("body", part.name), value_type="file")
        if part.name in values:
            raise FieldFault("given more than once", location=("body", part.name), value_type="array")
        values[part.name] = part.data.decode("utf-8", errors="replace") if part.name in texts else _value(part.data)
    return values


def _is_file(header: PartHeader) -> bool:
    content_type = header.content_type.lower()
    return header.file_name is not None or (content_type != "" and not content_type.startswith(_TEXT_TYPES))


def _value(data: bytes) -> object:
    text = data.decode("utf-8", errors="replace")
    number = _JSON_NUMBER.fullmatch(text)
    if number is None:
        return text
    return int(text) if number[1] is number[2] is None else float(text)

"""A streaming reader of multipart/form-data bodies (RFC 7578), on the parser of the package `multipart`.

Requests read a form from memory with it, and jobs read one from a file. It imports no web framework, because the
process that decodes the uploads of jobs imports it too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from multipart import MultipartError, MultipartSegment, PushMultipartParser

from serving.errors.exceptions import Malformed

MULTIPART: Final = "multipart/form-data"
MAX_HEADER_BYTES: Final = 4096 + 128
MAX_HEADERS: Final = 8
# Not the package's `parse_options_header`: it cuts an unquoted boundary at "=", "/" and ":", which some clients send.
_BOUNDARY = re.compile(r';\s*boundary=(?:"((?:[^"\\]|\\.)*)"|([^\s;]+))', re.IGNORECASE)
# It matches at every quotation mark, so that a text of many, without the last one, takes linear time.
_QUOTED = re.compile(r'"(?:[^"\\]|\\.?)*+"?')
# Names of the buttons of pages, and of hidden fields of browsers and frameworks. A misspelled option is none of them.
_BUTTONS = ("submit", "button")
_OF_PAGES = frozenset(
    {"action", "btn", "commit", "go", "ok", "save", "send", "upload", "_charset_", "max_file_size", "utf8"}
)
_EXTENDED_FILE_NAME = re.compile(r";\s*filename\*\s*=\s*([^\s;]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PartHeader:
    """The headers of one part. Without a filename `file_name` is None; `content_type` may be empty."""

    name: str
    file_name: str | None
    content_type: str

    @property
    def is_of_page(self) -> bool:
        """Whether the form of a page sends this part beside the fields: its button, or what its framework adds."""
        name = self.name.lower().removesuffix(".x").removesuffix(".y")
        return self.file_name is None and (name in _OF_PAGES or any(each in name for each in _BUTTONS))


# A part is its header, its content in chunks, and None at its end.
FormEvent = PartHeader | bytes | None


def boundary_of(content_type: str) -> bytes:
    """Return the boundary in the value of a Content-Type header. Raises Malformed."""
    match = _BOUNDARY.search(content_type)
    boundary = re.sub(r"\\(.)", r"\1", match[1]) if match and match[1] is not None else match and match[2]
    if not boundary:
        raise Malformed(f"the Content-Type {MULTIPART} lacks its boundary")
    return boundary.encode("latin-1", "replace")


class _Parser(PushMultipartParser):  # type: ignore[misc]  # the package has no types
    """The parser of the package, without its check that a disposition is `form-data`: a part only needs a name."""

    def _create_segment(self, headerlist: list[tuple[str, str]]) -> MultipartSegment:
        segment = MultipartSegment(headerlist)
        if segment.name is None:
            raise Malformed("a part of the multipart body has no name")
        return segment


class FormReader:
    """A reader of one body, fed in chunks of any size. Raises Malformed for a body that is not a form."""

    def __init__(self, boundary: bytes, *, max_parts: int | None = None) -> None:
        # Latin-1 decodes any bytes. Names are decoded as UTF-8 in `_header_of`, with replacement characters.
        self._parser = _Parser(
            boundary,
            max_header_size=MAX_HEADER_BYTES,
            max_header_count=MAX_HEADERS,
            header_charset="latin-1",
        )
        self._delimiter = b"--" + boundary
        self._opening: bytes | None = b""
        self._max_parts = max_parts
        self._parts = 0

    def feed(self, chunk: bytes) -> Iterator[FormEvent]:
        """Yield the events in the next chunk. Read all of them before the next call."""
        if self._opening is not None:
            chunk = self._open(chunk)
        if not chunk:
            return
        try:
            for event in self._parser.parse(chunk):
                yield self._header(event) if isinstance(event, MultipartSegment) else event
        except MultipartError as error:
            raise Malformed("the multipart body cannot be parsed") from error

    def close(self) -> None:
        """Raise Malformed unless the last boundary was read."""
        try:
            self._parser.close()
        except MultipartError as error:
            raise Malformed("the multipart body ends before its last boundary") from error

    def _open(self, chunk: bytes) -> bytes:
        """Return the start of the body once it is long enough to show a boundary. A preamble is refused."""
        start = ((self._opening or b"") + chunk).lstrip(b"\r\n")
        if len(start) < len(self._delimiter):
            self._opening = start
            return b""
        if not start.startswith(self._delimiter):
            raise Malformed("the multipart body cannot be parsed")
        self._opening = None
        return start

    def _header(self, segment: MultipartSegment) -> PartHeader:
        if self._parts == self._max_parts:
            raise Malformed(f"the multipart body has more than {self._max_parts} parts")
        self._parts += 1
        return _header_of(segment)


def _header_of(segment: MultipartSegment) -> PartHeader:
    file_name, content_type = segment.filename, ""
    for name, value in segment.headerlist:
        if name == "Content-Disposition" and file_name is None and "*" in value:
            file_name = _extended_file_name(value)
        elif name == "Content-Type":
            content_type = value.strip()
    return PartHeader(_utf8(segment.name), None if file_name is None else _utf8(file_name), content_type)


def _extended_file_name(disposition: str) -> str | None:
    """Return the name in `filename*` (RFC 8187). RFC 7578 forbids this form, and clients send it."""
    match = _EXTENDED_FILE_NAME.search(_QUOTED.sub('""', disposition))
    if match is None:
        return None
    charset, _, name = match[1].split("'", 2) if match[1].count("'") >= 2 else ("utf-8", "", match[1])
    try:
        return unquote(name, encoding=charset or "utf-8", errors="replace").encode("utf-8").decode("latin-1")
    except (LookupError, UnicodeError):
        return name


def _utf8(text: str) -> str:
    return text if text.isascii() else text.encode("latin-1", "replace").decode("utf-8", "replace")

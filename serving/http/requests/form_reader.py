"""A streaming reader of multipart/form-data bodies (RFC 7578), on the parser of the package `multipart`.

Requests read a form from memory with it, and jobs read one from a file. It imports no web framework, because the
process that decodes the uploads of jobs imports it too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from multipart import MultipartError, MultipartSegment, PushMultipartParser

from serving.errors.exceptions import Malformed
from serving.header_fields import parameters

MULTIPART: Final = "multipart/form-data"
MAX_HEADER_BYTES: Final = 4096 + 128
MAX_HEADERS: Final = 8
# A preamble of more bytes is refused. Those that clients send are one sentence.
MAX_PREAMBLE_BYTES: Final = 16 << 10
# Names of the buttons of pages, and of hidden fields of browsers and frameworks. A misspelled option is not among them.
_BUTTONS = ("submit", "button")
_OF_PAGES = frozenset(
    {"action", "btn", "commit", "go", "ok", "save", "send", "upload", "_charset_", "max_file_size", "utf8"}
)


@dataclass(frozen=True, slots=True)
class PartHeader:
    """The headers of one part. Without a filename `file_name` is None; `content_type` may be empty."""

    name: str
    file_name: str | None
    content_type: str

    @property
    def is_of_page(self) -> bool:
        """Whether a form of a page adds this part to the fields: its button, or what its framework sends."""
        name = self.name.lower().removesuffix(".x").removesuffix(".y")
        return self.file_name is None and (name in _OF_PAGES or any(each in name for each in _BUTTONS))


# A part is its header, its content in chunks, and None at its end.
FormEvent = PartHeader | bytes | None


def boundary_of(content_type: str) -> bytes:
    """Return the boundary in the value of a Content-Type header. Raises Malformed."""
    # The package's `parse_options_header` cuts an unquoted boundary at "=", "/" and ":", which some clients send.
    _, given = parameters(content_type)
    boundary = given.get("boundary", "")
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
        """Return the body from its first boundary on, once that has arrived. The preamble is ignored (RFC 2046, 5.1.1).

        A boundary is at the start of a line.
        """
        # The first line has no end of a line before it.
        start = (self._opening or b"\r\n") + chunk
        found = start.find(b"\r\n" + self._delimiter)
        if 0 <= found <= MAX_PREAMBLE_BYTES:
            self._opening = None
            return start[found + 2 :]
        if len(start) > MAX_PREAMBLE_BYTES:
            raise Malformed("the multipart body does not begin with its boundary")
        self._opening = start
        return b""

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
    _, given = parameters(disposition)
    value = given.get("filename*")
    if value is None:
        return None
    charset, _, name = value.split("'", 2) if value.count("'") >= 2 else ("utf-8", "", value)
    try:
        return unquote(name, encoding=charset or "utf-8", errors="replace").encode("utf-8").decode("latin-1")
    except (LookupError, UnicodeError):
        return name


def _utf8(text: str) -> str:
    return text if text.isascii() else text.encode("latin-1", "replace").decode("utf-8", "replace")

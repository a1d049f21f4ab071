"""The files of a multipart form (RFC 7578) that lies on the disk, one after the other, however large the form is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from serving.errors.exceptions import FieldFault, Malformed
from serving.jobs.decoding.archives import image_item
from serving.jobs.decoding.task import DecodeLimits
from serving.jobs.storage.item_file import Item

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

_PIECE_BYTES = 1 << 18
_SHOWN = 100


@dataclass(frozen=True, slots=True)
class FormFile:
    """A file part that was put aside whole: its content type, the name it came with, and where it is now."""

    content_type: str
    file_name: str
    path: Path


def form_images(path: Path, content_type: str, limits: DecodeLimits) -> Iterator[Item | FormFile]:
    """Each part `images` as an item, and the part `archive` as a file beside the form.

    Raises Malformed, and FieldFault for any other part.
    """
    form = _Form(limits, path.with_name("archive"), each="images", whole="archive")
    yield from form.read(path, content_type)


def form_file(path: Path, content_type: str, limits: DecodeLimits) -> FormFile:
    """The one part `file` of a form. Raises Malformed, FieldFault."""
    form = _Form(limits, path.with_name("file"), each="", whole="file")
    found = [part for part in form.read(path, content_type) if isinstance(part, FormFile)]
    if not found:
        raise FieldFault("a file part 'file' is required", location=("body", "file"), value_type="absent")
    return found[0]


class _Form:
    """Reads one form: parts called `each` into memory, one at a time; the one called `whole` into a file."""

    def __init__(self, limits: DecodeLimits, aside: Path, *, each: str, whole: str) -> None:
        self._limits = limits
        self._aside = aside
        self._each, self._whole = each, whole
        self._found: list[Item | FormFile] = []
        self._has_ended = self._has_whole = False
        self._stream: IO[bytes] | None = None
        self._data = bytearray()
        self._header: list[bytearray] = [bytearray(), bytearray()]
        self._headers: dict[bytes, bytes] = {}
        self._name = self._file_name = self._media_type = ""

    def read(self, path: Path, content_type: str) -> Iterator[Item | FormFile]:
        """What is found, as it is found."""
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if not boundary:
            raise Malformed("the Content-Type multipart/form-data lacks its boundary")
        with path.open("rb") as stream:
            try:
                parser = MultipartParser(boundary, self._callbacks())
                while piece := stream.read(_PIECE_BYTES):
                    parser.write(piece)
                    found, self._found = self._found, []
                    yield from found
                parser.finalize()
            except FormParserError as error:
                raise Malformed("the multipart body cannot be parsed") from error
            finally:
                if self._stream is not None:
                    self._stream.close()
        if not self._has_ended:
            raise Malformed("the multipart body ends before its last boundary")
        yield from self._found

    def _callbacks(self) -> MultipartCallbacks:
        name, value = self._header
        end: Callable[[], None] = self._finish
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, stop: name.extend(data[start:stop]),
            "on_header_value": lambda data, start, stop: value.extend(data[start:stop]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._open,
            "on_part_data": self._add,
            "on_part_end": self._close,
            "on_end": end,
        }

    def _begin(self) -> None:
        self._headers, self._data = {}, bytearray()

    def _header_end(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        name.clear()
        value.clear()

    def _open(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._file_name = options.get(b"filename", b"").decode("utf-8", "replace")
        self._media_type = self._headers.get(b"content-type", b"").decode("latin-1")
        where = ("body", self._name[:_SHOWN])
        if self._name not in (self._each, self._whole) or not self._name:
            raise FieldFault("Unknown field", location=where, value_type="string")
        if b"filename" not in options and b"content-type" not in self._headers:
            message = f"'{self._name}' has to be a file part, with a filename; text and addresses are not read"
            raise FieldFault(message, location=where, value_type="string")
        if self._name == self._whole:
            if self._has_whole:
                raise FieldFault(f"only one '{self._whole}' may be sent", location=where, value_type="array")
            self._has_whole = True
            self._stream = self._aside.open("wb")

    def _add(self, data: bytes, start: int, stop: int) -> None:
        if self._stream is not None:
            self._stream.write(data[start:stop])
        elif len(self._data) <= self._limits.max_item_bytes:
            self._data += data[start:stop]

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
            self._found.append(FormFile(self._media_type, self._file_name, self._aside))
            return
        max_bytes = self._limits.max_item_bytes
        data = bytes(self._data) if len(self._data) <= max_bytes else None
        self._found.append(image_item(self._file_name, data, max_bytes=max_bytes))

    def _finish(self) -> None:
        self._has_ended = True

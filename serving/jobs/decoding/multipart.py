"""Read the file parts of a form that is stored on disk, one after the other, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from serving.errors.exceptions import FieldFault
from serving.errors.faults import ValueType
from serving.http.requests.form_reader import FormEvent, FormReader, PartHeader, boundary_of
from serving.jobs.decoding.archives import file_item
from serving.jobs.decoding.task import FORM_FILE, DecodeLimits
from serving.jobs.storage.item_file import JobItem

_CHUNK_BYTES = 1 << 18
_SHOWN_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class FormFile:
    """A file part, copied to `path`: its content type, and the name that the client gave."""

    content_type: str
    file_name: str
    path: Path


def form_items(
    path: Path, content_type: str, limits: DecodeLimits, *, item_part: str, file_part: str
) -> Iterator[JobItem | FormFile]:
    """Yield each part called `item_part` as an item, and the one part called `file_part` as a file.

    Raises Malformed, and FieldFault for any other part.
    """
    names = tuple(name for name in (item_part, file_part) if name)
    open_part: _ItemPart | _FilePart | _IgnoredPart | None = None
    has_file = False
    try:
        for event in _events(path, content_type):
            if isinstance(event, PartHeader):
                if event.name == file_part and has_file:
                    raise _fault(event, f"only one '{file_part}' may be sent", "array")
                open_part = _opened(event, path, limits, names, file_part)
            elif open_part is not None and event is not None:
                open_part.write(event)
            elif open_part is not None:
                result = open_part.finish()
                has_file = has_file or isinstance(result, FormFile)
                if result is not None:
                    yield result
    finally:
        if open_part is not None:
            open_part.close()


def form_file(path: Path, content_type: str, limits: DecodeLimits, *, name: str) -> FormFile:
    """Return the only part of a form, which has to be called `name`. Raises Malformed, FieldFault."""
    for part in list(form_items(path, content_type, limits, item_part="", file_part=name)):
        if isinstance(part, FormFile):
            return part
    raise FieldFault(f"a file part '{name}' is required", location=("body", name), value_type="absent")


def _events(path: Path, content_type: str) -> Iterator[FormEvent]:
    reader = FormReader(boundary_of(content_type))
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield from reader.feed(chunk)
    reader.close()


def _opened(
    header: PartHeader, path: Path, limits: DecodeLimits, names: tuple[str, ...], file_part: str
) -> _ItemPart | _FilePart | _IgnoredPart:
    if header.is_of_page:
        return _IgnoredPart()
    if header.name not in names:
        return _IgnoredPart(_fault(header, "Unknown field", "string"))
    if header.file_name is None and not header.content_type:
        message = f"'{header.name}' has to be a file part, with a filename; text and addresses are not read"
        return _IgnoredPart(_fault(header, message, "string"))
    return _FilePart(header, path) if header.name == file_part else _ItemPart(header, limits)


def _fault(header: PartHeader, message: str, value_type: ValueType) -> FieldFault:
    return FieldFault(message, location=("body", header.name[:_SHOWN_CHARACTERS]), value_type=value_type)


class _ItemPart:
    """A part that becomes an item. Of one that is too large only the first bytes are kept."""

    def __init__(self, header: PartHeader, limits: DecodeLimits) -> None:
        self._file_name = header.file_name or ""
        self._max_bytes = limits.max_item_bytes
        self._data = bytearray()

    def write(self, chunk: bytes) -> None:
        if len(self._data) <= self._max_bytes:
            self._data += chunk

    def finish(self) -> JobItem | None:
        """Return the item; None for a file that was not chosen in the form of a page."""
        if not self._file_name and not self._data:
            return None
        data = bytes(self._data) if len(self._data) <= self._max_bytes else None
        return file_item(self._file_name, data, max_bytes=self._max_bytes)

    def close(self) -> None:
        self._data.clear()


class _FilePart:
    """A part that is copied to a file in the folder of the form."""

    def __init__(self, header: PartHeader, form: Path) -> None:
        self._file = FormFile(header.content_type, header.file_name or "", form.with_name(FORM_FILE))
        self._stream = self._file.path.open("wb")

    def write(self, chunk: bytes) -> None:
        self._stream.write(chunk)

    def finish(self) -> FormFile | None:
        """Return the file; None for one that was not chosen in the form of a page."""
        is_empty = self._stream.tell() == 0
        self._stream.close()
        return None if is_empty and not self._file.file_name else self._file

    def close(self) -> None:
        self._stream.close()


class _IgnoredPart:
    """A part without a meaning. One that is a fault may be empty: a field of a page that was not filled in."""

    def __init__(self, fault: FieldFault | None = None) -> None:
        self._fault = fault

    def write(self, chunk: bytes) -> None:
        if self._fault is not None and chunk:
            raise self._fault

    def finish(self) -> None:
        """Return None."""

    def close(self) -> None:
        """Do nothing."""

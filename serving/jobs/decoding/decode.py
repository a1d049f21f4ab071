"""Decodes one upload: chooses the reader by kind and content type, and packs what it finds."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

from models.errors import InvalidInput, UnsupportedMedia
from serving.jobs.decoding.archives import archived_images
from serving.jobs.decoding.folders import folder_images
from serving.jobs.decoding.multipart import FormFile, form_file, form_images
from serving.jobs.decoding.tables import csv_rows, ndjson_rows, parquet_rows
from serving.jobs.decoding.task import CSV, MULTIPART, NDJSON, PARQUET, UPLOAD, Decoded, DecodeTask
from serving.jobs.decoding.users import csv_users, json_users, ndjson_users
from serving.jobs.storage.item_file import Item, ItemWriter

# Names that browsers and command lines give files whose content type they do not know.
_SUFFIXES = {".csv": CSV, ".ndjson": NDJSON, ".jsonl": NDJSON, ".parquet": PARQUET, ".pq": PARQUET}
_BEGINNINGS = {b"PAR1": PARQUET}
_TABLES = {CSV: csv_rows, NDJSON: ndjson_rows, PARQUET: parquet_rows}
_UTF_8 = ("", "utf-8", "utf8", "us-ascii")


def decode(order: DecodeTask) -> Decoded:
    """Pack the items of an upload, and remove the upload.

    Raises InputError with what is wrong with the whole, and OSError when it cannot be written.
    """
    options: dict[str, Any] = {}
    items = _items(order, options)
    limits = order.limits
    with ItemWriter(order.folder, max_items=limits.max_items, max_bytes=limits.max_unpacked_bytes) as writer:
        for item in items:
            writer.add(item)
        if not writer.number:
            raise InvalidInput(f"there is nothing to answer: {_NOTHING[order.kind]}", location=("body",))
    for name in (UPLOAD, "archive", "file"):
        (order.folder / name).unlink(missing_ok=True)
    return Decoded(writer.number, writer.size_bytes, writer.sha256, options)


_NOTHING = {"images": "no image", "tabular": "the table has no row", "recommendations": "no user"}


def _items(order: DecodeTask, options: dict[str, Any]) -> Iterator[Item]:
    upload = order.folder / UPLOAD
    match order.kind:
        case "images" if order.source is not None:
            return folder_images(order.source, order.roots, order.limits)
        case "images":
            return _images(upload, order)
        case "tabular":
            return _rows(upload, order)
        case "recommendations":
            return _users(upload, order, options)


def _images(upload: Path, order: DecodeTask) -> Iterator[Item]:
    if media_type(order.content_type) != MULTIPART:
        yield from archived_images(upload, order.limits)
        return
    for found in form_images(upload, order.content_type, order.limits):
        if isinstance(found, FormFile):
            yield from archived_images(found.path, order.limits)
        else:
            yield found


def _rows(upload: Path, order: DecodeTask) -> Iterator[Item]:
    content_type, path = order.content_type, upload
    if media_type(content_type) == MULTIPART:
        part = form_file(upload, content_type, order.limits)
        path = part.path
        content_type = part.content_type if media_type(part.content_type) in _TABLES else _type_of(part)
    _check_charset(content_type)
    return _TABLES[media_type(content_type)](path, order)


def _type_of(part: FormFile) -> str:
    """What a table is, by the name of its file, or else by how it begins."""
    named = _SUFFIXES.get(Path(part.file_name).suffix.lower())
    if named is not None:
        return named
    with part.path.open("rb") as stream:
        return _BEGINNINGS.get(stream.read(4), CSV)


def _users(upload: Path, order: DecodeTask, options: dict[str, Any]) -> Iterator[Item]:
    _check_charset(order.content_type)
    match media_type(order.content_type):
        case "application/json":
            items, found = json_users(upload)
            options |= found
            return iter(items)
        case "text/csv":
            return csv_users(upload, order)
        case _:
            return ndjson_users(upload)


def media_type(content_type: str) -> str:
    """The media type in the value of a Content-Type."""
    return content_type.partition(";")[0].strip().lower()


def _check_charset(content_type: str) -> None:
    header = Message()
    header["Content-Type"] = content_type
    charset = header.get_content_charset("")
    if charset not in _UTF_8:
        raise UnsupportedMedia(f"text has to be UTF-8, not '{charset[:50]}'")

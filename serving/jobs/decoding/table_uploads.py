"""Read uploads of tables: choose the reader by content type, by file name, or by the first bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from serving.http.requests.form_reader import MULTIPART
from serving.jobs.decoding.decode import ItemStream, check_charset
from serving.jobs.decoding.multipart import FormFile, form_file
from serving.jobs.decoding.tables import csv_rows, ndjson_rows, parquet_rows
from serving.jobs.decoding.task import CSV, NDJSON, PARQUET, DecodeTask, media_type
from serving.jobs.storage.item_file import JobItem

FILE_PART: Final = "file"
# Browsers and command lines send files of unknown types with these names.
_SUFFIXES = {".csv": CSV, ".ndjson": NDJSON, ".jsonl": NDJSON, ".parquet": PARQUET, ".pq": PARQUET}
_FIRST_BYTES = {b"PAR1": PARQUET}
_READERS: dict[str, Callable[[Path, DecodeTask], Iterator[JobItem]]] = {
    CSV: csv_rows,
    NDJSON: ndjson_rows,
    PARQUET: parquet_rows,
}


def decode_table(task: DecodeTask) -> ItemStream:
    """Return the rows of a CSV, NDJSON or Parquet upload, or of a form with one of them as `file`.

    The columns are `task.columns`. An item's head has the member `row`, and with an id column the member `id`. Raises
    InputError.
    """
    content_type, path = task.content_type, task.upload
    if media_type(content_type) == MULTIPART:
        part = form_file(path, content_type, task.limits, name=FILE_PART)
        path = part.path
        content_type = part.content_type if media_type(part.content_type) in _READERS else _type_of(part)
    check_charset(content_type)
    return ItemStream(_READERS[media_type(content_type)](path, task), empty_detail="the table has no row")


def _type_of(part: FormFile) -> str:
    by_name = _SUFFIXES.get(Path(part.file_name).suffix.lower())
    if by_name is not None:
        return by_name
    with part.path.open("rb") as stream:
        return _FIRST_BYTES.get(stream.read(4), CSV)

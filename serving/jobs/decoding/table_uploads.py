"""Read uploads of tables: choose the reader by content, content type and file name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from serving.header_fields import media_type
from serving.http.requests.form_reader import MULTIPART
from serving.jobs.decoding.decode import ItemStream, check_charset
from serving.jobs.decoding.media_types import table_type
from serving.jobs.decoding.multipart import form_file
from serving.jobs.decoding.tables import csv_rows, ndjson_rows, parquet_rows
from serving.jobs.decoding.task import CSV, NDJSON, PARQUET, DecodeTask
from serving.jobs.storage.item_file import JobItem

FILE_PART: Final = "file"
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
    content_type, path, file_name = task.content_type, task.upload, ""
    if media_type(content_type) == MULTIPART:
        part = form_file(path, content_type, task.limits, name=FILE_PART)
        content_type, path, file_name = part.content_type, part.path, part.file_name
    check_charset(content_type)
    read = _READERS[table_type(path, content_type, file_name)]
    return ItemStream(read(path, task), empty_detail="the table has no row")

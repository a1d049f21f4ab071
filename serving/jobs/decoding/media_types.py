"""The media types of uploads: what clients call them, and what the first bytes of a file say.

Browsers take the type of a file from the operating system: a CSV file is `application/vnd.ms-excel` on a Windows with
Excel, and a zip `application/x-zip-compressed`. Where a type does not tell, the content decides.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Final

from models.errors import UnsupportedMedia
from models.tables.csv_files import is_gzip
from serving.header_fields import media_type
from serving.jobs.decoding.task import ARCHIVES, CSV, NDJSON, PARQUET

_CSV: Final = frozenset(
    {
        "application/csv", "application/vnd.ms-excel", "application/x-csv", "text/comma-separated-values",
        "text/tab-separated-values", "text/x-comma-separated-values", "text/x-csv",
    }
)  # fmt: skip
_ALIASES: Final = {
    **dict.fromkeys(_CSV, CSV),
    **dict.fromkeys(
        ("application/jsonl", "application/jsonlines", "application/ndjson", "application/x-jsonl",
         "application/x-jsonlines", "text/x-ndjson"),
        NDJSON,
    ),
    **dict.fromkeys(("application/parquet", "application/x-parquet"), PARQUET),
    **dict.fromkeys(("application/x-zip", "application/x-zip-compressed", "multipart/x-zip"), "application/zip"),
    **dict.fromkeys(("application/tar", "application/x-gtar"), "application/x-tar"),
    **dict.fromkeys(
        ("application/gzip", "application/tar+gzip", "application/x-compressed", "application/x-compressed-tar",
         "application/x-gzip", "application/x-gtar-compressed", "application/x-tgz"),
        "application/gzip",
    ),
}  # fmt: skip
# Types of any file.
UNSPECIFIC: Final = frozenset(
    {
        "", "application/binary", "application/download", "application/force-download", "application/octet-stream",
        "application/x-download", "binary/octet-stream", "text/plain",
    }
)  # fmt: skip
_TABLES: Final = frozenset({CSV, NDJSON, PARQUET})
_WORKBOOKS: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_SUFFIXES: Final = {".csv": CSV, ".ndjson": NDJSON, ".jsonl": NDJSON, ".parquet": PARQUET, ".pq": PARQUET}
_START_BYTES: Final = 4096


def is_accepted(received: str, accepted: Collection[str]) -> bool:
    """Return whether a body of the type `received` may be one of the types `accepted`."""
    known = _ALIASES.get(received, received)
    # A table may be compressed.
    return known in UNSPECIFIC or known in accepted or (known in ARCHIVES[2:] and CSV in accepted)


def table_type(path: Path, content_type: str, file_name: str = "") -> str:
    """Return the type of a table: CSV, NDJSON or Parquet.

    Between types of text the type that the client states decides, then the suffix of the file's name, then the content.
    Raises UnsupportedMedia for a workbook.
    """
    start = start_of(path)
    if start.startswith(b"PAR1"):
        return PARQUET
    if start.startswith(_WORKBOOKS):
        raise UnsupportedMedia("the file is an Excel workbook or a zip archive; send CSV, NDJSON or Parquet")
    stated = media_type(content_type)
    if stated in _TABLES:
        return stated
    named = _SUFFIXES.get(Path(file_name).suffix.lower()) or _ALIASES.get(stated, "")
    if named in (NDJSON, PARQUET):
        return named
    return NDJSON if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{") else CSV


def start_of(path: Path) -> bytes:
    """Return the first bytes of a file, decompressed."""
    if not is_gzip(path):
        with path.open("rb") as file:
            return file.read(_START_BYTES)
    with gzip.open(path, "rb") as file:
        try:
            return file.read(_START_BYTES)
        except (OSError, EOFError, zlib.error):
            return b""

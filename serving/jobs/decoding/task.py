"""What is to be decoded, within which limits, and what came of it. Goes to another process and back as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from serving.jobs.storage.record import JobKind

UPLOAD = "upload"

CSV = "text/csv"
NDJSON = "application/x-ndjson"
PARQUET = "application/vnd.apache.parquet"
JSON = "application/json"
MULTIPART = "multipart/form-data"
ARCHIVES = ("application/zip", "application/x-tar", "application/gzip")
# What is read for each kind of job.
READS: dict[JobKind, tuple[str, ...]] = {
    "images": (*ARCHIVES, MULTIPART),
    "tabular": (CSV, PARQUET, NDJSON, MULTIPART),
    "recommendations": (JSON, CSV, NDJSON),
}


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """A column of a table, as the card has it."""

    name: str
    kind: str
    is_required: bool
    is_nullable: bool
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Bounds of one job. Times are in seconds of processor time."""

    max_items: int = 1_000_000
    max_item_bytes: int = 16 << 20
    max_unpacked_bytes: int = 1 << 30
    max_memory_bytes: int = 2 << 30
    cpu_s: int = 300


@dataclass(frozen=True, slots=True)
class DecodeTask:
    """Decode the file `upload` in `folder`, and write the items beside it.

    `content_type` is the request's whole header. `source` is a folder of images on this machine, in place of an upload,
    below `roots`. `id_column` is a column of a table that names its rows and is not the model's.
    """

    kind: JobKind
    content_type: str
    folder: Path
    limits: DecodeLimits
    columns: tuple[ColumnSpec, ...] = ()
    id_column: str | None = None
    source: str | None = None
    roots: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decoded:
    """How many items there are, how many bytes they take, their SHA-256; `options` are those that came in the body."""

    total: int
    size_bytes: int
    sha256: str
    options: dict[str, Any] = field(default_factory=dict)  # Any: JSON


ORDER = TypeAdapter(DecodeTask)
DECODED = TypeAdapter(Decoded)

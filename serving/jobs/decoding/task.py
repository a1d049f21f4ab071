"""The messages between the service and its decoder: what to decode, the limits, the outcome. Sent as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from models.card import Column

UPLOAD: Final = "upload"
# The file part of a form, copied from the upload.
FORM_FILE: Final = "form-file"

CSV: Final = "text/csv"
NDJSON: Final = "application/x-ndjson"
PARQUET: Final = "application/vnd.apache.parquet"
JSON: Final = "application/json"
ARCHIVES: Final = ("application/zip", "application/x-tar", "application/gzip")

# Enough for every honest upload: the reader of Parquet alone takes 270 MiB of address space.
_BASE_MEMORY_BYTES: Final = 768 << 20
_MEMORY_PER_BYTE: Final = 4
_BASE_CPU_S: Final = 60
_BYTES_PER_CPU_S: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """The limits of one job. `cpu_s` is seconds of processor time."""

    max_items: int = 1_000_000
    max_item_bytes: int = 16 << 20
    max_unpacked_bytes: int = 1 << 30
    max_memory_bytes: int = 2 << 30
    cpu_s: int = 300

    def for_upload(self, size_bytes: int) -> DecodeLimits:
        """Return these limits, with less memory and time for an upload of a few bytes than for a large one."""
        return replace(
            self,
            max_memory_bytes=min(self.max_memory_bytes, _BASE_MEMORY_BYTES + _MEMORY_PER_BYTE * size_bytes),
            cpu_s=min(self.cpu_s, _BASE_CPU_S + size_bytes // _BYTES_PER_CPU_S),
        )


@dataclass(frozen=True, slots=True)
class DecodeTask:
    """Decode the file `upload` in `folder`, and write the items to the same folder.

    `decoder` names a function as `package.module:function` (see `Decoder`). `content_type` is the whole header of the
    request, and `options` are the job's. `columns` are those of a table of items. `source` is a folder of this machine
    that replaces the upload, and it has to be inside one of `roots`.
    """

    decoder: str
    content_type: str
    folder: Path
    limits: DecodeLimits
    options: dict[str, Any] = field(default_factory=dict)  # Any: JSON
    columns: tuple[Column, ...] = ()
    source: str | None = None
    roots: tuple[str, ...] = ()

    @property
    def upload(self) -> Path:
        """The file to decode."""
        return self.folder / UPLOAD

    @property
    def id_column(self) -> str | None:
        """The column of a table that names its rows."""
        return self.options.get("id_column")

    @property
    def ignores_extra_columns(self) -> bool:
        """Whether columns of a table that are not in `columns` are left out, and not refused."""
        return bool(self.options.get("extra") == "ignore")


@dataclass(frozen=True, slots=True)
class DecodeResult:
    """The number of items, their size and SHA-256. `options` are those that the body itself contained."""

    total: int
    size_bytes: int
    sha256: str
    options: dict[str, Any] = field(default_factory=dict)  # Any: JSON


TASK_ADAPTER = TypeAdapter(DecodeTask)
RESULT_ADAPTER = TypeAdapter(DecodeResult)

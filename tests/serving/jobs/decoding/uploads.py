"""Uploads for tests of decoding, and their items."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from hypothesis import HealthCheck, settings

from serving.jobs.decoding.decode import decode
from serving.jobs.decoding.task import UPLOAD
from serving.jobs.storage.item_file import JobItem, read_items
from tests.serving.jobs.job_fixtures import TABLE, decode_task

HEADER = "age,sex,income,owns\n"
ROW = {"age": 33, "sex": "male", "income": None, "owns": True}
fuzz = settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


def items(folder: Path, data: bytes | str, content_type: str, decoder: str = TABLE, **more: Any) -> list[JobItem]:
    """Return the items of an upload."""
    sent = data.encode() if isinstance(data, str) else data
    decoded = decode(decode_task(folder, sent, content_type, decoder, **more))
    assert not (folder / UPLOAD).exists()
    read = read_items(folder, 0, decoded.total + 1)
    assert len(read) == decoded.total
    return read


def heads(*args: Any, **more: Any) -> list[dict[str, Any]]:
    return [dict(item.head) for item in items(*args, **more)]


def parquet(rows: list[dict[str, Any]], **options: Any) -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), buffer, **options)
    return buffer.getvalue()


def form(*parts: tuple[str, str, bytes]) -> tuple[bytes, str]:
    """Return a multipart body and its content type. A part is its disposition, other headers, and data."""
    body = b"".join(
        f"--B\r\nContent-Disposition: form-data; {name}\r\n{more}\r\n".encode() + data + b"\r\n"
        for name, more, data in parts
    )
    return body + b"--B--\r\n", "multipart/form-data; boundary=B"

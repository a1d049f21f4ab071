"""Uploads that tests of decoding begin with, and what they become."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from hypothesis import HealthCheck, settings

from serving.jobs.decoding.decode import decode
from serving.jobs.decoding.task import UPLOAD
from serving.jobs.storage.item_file import Item, read_items
from tests.serving.jobs.job_fixtures import order

HEADER = "age,sex,income,owns\n"
ROW = {"age": 33, "sex": "male", "income": None, "owns": True}
fuzz = settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


def items(folder: Path, data: bytes | str, content_type: str, kind: Any = "tabular", **more: Any) -> list[Item]:
    """What an upload becomes."""
    sent = data.encode() if isinstance(data, str) else data
    decoded = decode(order(folder, sent, content_type, kind, **more))
    assert not (folder / UPLOAD).exists()
    found = read_items(folder, 0, decoded.total + 1)
    assert len(found) == decoded.total
    return found


def heads(*args: Any, **more: Any) -> list[dict[str, Any]]:
    return [dict(item.head) for item in items(*args, **more)]


def parquet(rows: list[dict[str, Any]], **options: Any) -> bytes:
    made = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), made, **options)
    return made.getvalue()


def form(*parts: tuple[str, str, bytes]) -> tuple[bytes, str]:
    """A multipart body, and its content type. Parts are the rest of the disposition, other headers, data."""
    body = b"".join(
        f"--B\r\nContent-Disposition: form-data; {name}\r\n{more}\r\n".encode() + data + b"\r\n"
        for name, more, data in parts
    )
    return body + b"--B--\r\n", "multipart/form-data; boundary=B"

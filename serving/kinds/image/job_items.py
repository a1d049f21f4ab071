"""Read the uploads of image jobs, and export their results. Child processes import this module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from serving.jobs.decoding.decode import ItemStream
from serving.jobs.decoding.file_uploads import read_files
from serving.jobs.decoding.task import DecodeTask


def decode_images(task: DecodeTask) -> ItemStream:
    """Return every file of an archive, of a form, or of a folder. Raises InputError."""
    return ItemStream(read_files(task, item_part="images", archive_part="archive"), empty_detail="no image")


def export_columns(name: str, value: Any) -> Mapping[str, Any] | None:  # Any: JSON
    """Return the best class in columns, and all classes as JSON text."""
    if name != "predictions":
        return None
    best = value[0] if value else {}
    return {
        "label": best.get("label"),
        "confidence": best.get("confidence"),
        "predictions": orjson.dumps(value).decode(),
    }

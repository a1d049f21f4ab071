"""The items of a job in one file, with a second file of end offsets, so that any item is found by its number.

An item is a head, which is a JSON object in one line, and a body of bytes.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import struct
from array import array
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from models.errors import InputTooLarge

ITEMS, ENDS = "items", "ends"
_END = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class JobItem:
    """One item of a job. An item that could not be read has the reason as `fault` in its head."""

    head: Mapping[str, Any]  # Any: JSON
    body: bytes = b""


class ItemWriter:
    """A writer of the items of a job to `folder`. The files are durable when the block ends.

    Raises InputTooLarge for more than `max_items` items, and for more than `max_bytes` in total.
    """

    def __init__(self, folder: Path, *, max_items: int, max_bytes: int) -> None:
        self._folder = folder
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._digest = hashlib.sha256()
        self.number = 0
        self.size_bytes = 0

    def __enter__(self) -> ItemWriter:
        self._items = (self._folder / ITEMS).open("wb")
        self._ends = (self._folder / ENDS).open("wb")
        return self

    def add(self, item: JobItem) -> None:
        """Write the next item. Raises InputTooLarge."""
        head = orjson.dumps(item.head)
        if self.number == self._max_items:
            raise InputTooLarge(f"a job may have at most {self._max_items} items")
        self.number += 1
        self.size_bytes += len(head) + 1 + len(item.body)
        if self.size_bytes > self._max_bytes:
            raise InputTooLarge(f"the items are larger than the {self._max_bytes} bytes that a job may have unpacked")
        for part in (head, b"\n", item.body):
            self._digest.update(part)
            self._items.write(part)
        self._ends.write(_END.pack(self.size_bytes))

    @property
    def sha256(self) -> str:
        """The SHA-256 of the items written so far."""
        return self._digest.hexdigest()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in (self._items, self._ends):
            with stream:
                if error is None:
                    stream.flush()
                    os.fsync(stream.fileno())


def read_items(folder: Path, start: int, stop: int, *, max_bytes: int = 1 << 62) -> list[JobItem]:
    """Return the items `start` to `stop` of a job: fewer at its end, and fewer for more than `max_bytes`, at least one.

    Raises OSError, ValueError.
    """
    first = max(0, start - 1)
    with (folder / ENDS).open("rb") as stream:
        stream.seek(first * _END.size)
        ends = array("Q", stream.read((stop - first) * _END.size))
    offsets = list(ends) if start else [0, *ends]
    if len(offsets) < 2:
        return []
    offsets = offsets[: max(2, bisect_right(offsets, offsets[0] + max_bytes))]
    with (folder / ITEMS).open("rb") as stream:
        stream.seek(offsets[0])
        records = stream.read(offsets[-1] - offsets[0])
    if len(records) != offsets[-1] - offsets[0]:
        raise ValueError("the file of items is truncated")
    cuts = [offset - offsets[0] for offset in offsets]
    return [_item(records[begin:end]) for begin, end in itertools.pairwise(cuts)]


def _item(record: bytes) -> JobItem:
    head, _, body = record.partition(b"\n")
    return JobItem(orjson.loads(head), body)

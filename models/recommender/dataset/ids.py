"""Strings in flat arrays that can be memory-mapped, and an index from text ids to rows.

A million ids of seven letters take about 120 MB per process in a dict. Here they take their bytes plus 24 bytes each,
31 MB, shared between processes through the page cache (`python -m tests.measure.arrays`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]


class StringArray:
    """An immutable list of strings: UTF-8 bytes (uint8) and offsets (int64, one more than the number of strings)."""

    def __init__(self, encoded: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
        self._bytes = memoryview(np.ascontiguousarray(encoded).data)
        # Reading an element of a memoryview takes 0.6 times as long as of an array (`python -m tests.measure.arrays`).
        self._offsets = memoryview(np.ascontiguousarray(ends).data)
        self._encoded = encoded
        self._ends = ends

    @classmethod
    def of(cls, texts: Iterable[str]) -> StringArray:
        parts = [text.encode() for text in texts]
        ends = np.concatenate(([0], np.cumsum([len(part) for part in parts], dtype=np.int64))).astype(np.int64)
        return cls(np.frombuffer(b"".join(parts), np.uint8), ends)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, row: int) -> str:
        return str(self._bytes[self._offsets[row] : self._offsets[row + 1]], "utf-8")

    def many(self, rows: Sequence[int]) -> list[str]:
        """Return the strings of several rows."""
        encoded, offsets = self._bytes, self._offsets
        return [str(encoded[offsets[row] : offsets[row + 1]], "utf-8") for row in rows]

    def arrays(self) -> dict[str, Array]:
        """Return the arrays that `restore` takes, by name."""
        return {"bytes": self._encoded, "ends": self._ends}

    @classmethod
    def restore(cls, arrays: Mapping[str, Array]) -> StringArray:
        return cls(arrays["bytes"].astype(np.uint8, copy=False), arrays["ends"].astype(np.int64, copy=False))


class IdIndex:
    """An index of distinct text ids by row, with lookup in a sorted array of 64-bit hashes."""

    def __init__(self, texts: StringArray, hashes: NDArray[np.uint64], rows: NDArray[np.int64]) -> None:
        self.texts = texts
        self._hashes = hashes
        self._rows = rows

    @classmethod
    def of(cls, ids: Sequence[str]) -> IdIndex:
        """Index `ids` in their order. Raise ValueError for duplicates."""
        if len(set(ids)) != len(ids):
            raise ValueError("ids must be distinct")
        hashes = np.fromiter((_hash(text) for text in ids), np.uint64, len(ids))
        order = np.argsort(hashes, kind="stable")
        return cls(StringArray.of(ids), hashes[order], order.astype(np.int64))

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, row: int) -> str:
        return self.texts[row]

    def row(self, text: str) -> int | None:
        """Return the row of an id, None for an unknown id."""
        key = np.uint64(_hash(text))
        position = int(self._hashes.searchsorted(key))
        while position < len(self._hashes) and self._hashes[position] == key:
            row = int(self._rows[position])
            if self.texts[row] == text:
                return row
            position += 1
        return None

    def arrays(self) -> dict[str, Array]:
        """Return the arrays that `restore` takes, by name."""
        return {**self.texts.arrays(), "hashes": self._hashes, "rows": self._rows}

    @classmethod
    def restore(cls, arrays: Mapping[str, Array]) -> IdIndex:
        hashes = arrays["hashes"].astype(np.uint64, copy=False)
        return cls(StringArray.restore(arrays), hashes, arrays["rows"].astype(np.int64, copy=False))


def _hash(text: str) -> int:
    # "surrogatepass" encodes lone surrogates, so that an id with one is unknown rather than an error.
    encoded = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "little")

"""Text ids and titles in flat arrays that can be memory-mapped: from row to text, and from text to row.

A million ids of seven letters in a dict cost about 120 MB in every process; here they cost their own bytes plus 24
each, 31 MB, shared between processes through the page cache (`python -m tests.measure.arrays`). Knows text, never
what it names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]


class Texts:
    """An immutable list of strings: UTF-8 bytes (uint8) and where each ends (int64, one more than there are texts)."""

    def __init__(self, encoded: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
        self._bytes = memoryview(np.ascontiguousarray(encoded).data)
        # Of a view one number is had in 0.6 of the time that an array takes (`python -m tests.measure.arrays`).
        self._places = memoryview(np.ascontiguousarray(ends).data)
        self._encoded = encoded
        self._ends = ends

    @classmethod
    def of(cls, texts: Iterable[str]) -> Texts:
        parts = [text.encode() for text in texts]
        ends = np.concatenate(([0], np.cumsum([len(part) for part in parts], dtype=np.int64))).astype(np.int64)
        return cls(np.frombuffer(b"".join(parts), np.uint8), ends)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, row: int) -> str:
        return str(self._bytes[self._places[row] : self._places[row + 1]], "utf-8")

    def many(self, rows: Sequence[int]) -> list[str]:
        """The texts of several rows."""
        encoded, places = self._bytes, self._places
        return [str(encoded[places[row] : places[row + 1]], "utf-8") for row in rows]

    def arrays(self) -> dict[str, Array]:
        """What `restore` needs, by name."""
        return {"bytes": self._encoded, "ends": self._ends}

    @classmethod
    def restore(cls, arrays: Mapping[str, Array]) -> Texts:
        return cls(arrays["bytes"].astype(np.uint8, copy=False), arrays["ends"].astype(np.int64, copy=False))


class IdIndex:
    """Distinct text ids, numbered by row, and found again through a sorted array of 64-bit hashes."""

    def __init__(self, texts: Texts, hashes: NDArray[np.uint64], rows: NDArray[np.int64]) -> None:
        self.texts = texts
        self._hashes = hashes
        self._rows = rows

    @classmethod
    def of(cls, ids: Sequence[str]) -> IdIndex:
        """Number `ids` in their order. Raises ValueError when one appears twice."""
        if len(set(ids)) != len(ids):
            raise ValueError("ids must be distinct")
        hashes = np.fromiter((_hash(text) for text in ids), np.uint64, len(ids))
        order = np.argsort(hashes, kind="stable")
        return cls(Texts.of(ids), hashes[order], order.astype(np.int64))

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, row: int) -> str:
        return self.texts[row]

    def row(self, text: str) -> int | None:
        """The row of an id, or None when it is not known."""
        wanted = np.uint64(_hash(text))
        place = int(self._hashes.searchsorted(wanted))
        while place < len(self._hashes) and self._hashes[place] == wanted:
            row = int(self._rows[place])
            if self.texts[row] == text:
                return row
            place += 1
        return None

    def arrays(self) -> dict[str, Array]:
        """What `restore` needs, by name."""
        return {**self.texts.arrays(), "hashes": self._hashes, "rows": self._rows}

    @classmethod
    def restore(cls, arrays: Mapping[str, Array]) -> IdIndex:
        hashes = arrays["hashes"].astype(np.uint64, copy=False)
        return cls(Texts.restore(arrays), hashes, arrays["rows"].astype(np.int64, copy=False))


def _hash(text: str) -> int:
    # Lone surrogates cannot be encoded; an id that holds one is simply not known.
    encoded = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "little")

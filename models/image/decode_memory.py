"""A bound on the memory of images while they are decoded, shared by the threads that decode."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from models.errors import InputTooLarge

DEFAULT_BYTES: Final = 1 << 30


class DecodeMemory:
    """Memory that threads reserve before they decode. They get it in the order of their calls."""

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        self.max_bytes = max_bytes
        self._free_bytes = max_bytes
        self._changed = threading.Condition()
        self._turn = threading.Lock()

    @contextmanager
    def reserve(self, size_bytes: int) -> Iterator[None]:
        """Wait until `size_bytes` are free, and hold them in the block. Raises InputTooLarge if they never will be."""
        if size_bytes > self.max_bytes:
            needed_mib, max_mib = size_bytes >> 20, self.max_bytes >> 20
            raise InputTooLarge(f"the image takes about {needed_mib:,} MiB to decode; at most {max_mib:,} are accepted")
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._free_bytes >= size_bytes)
            self._free_bytes -= size_bytes
        try:
            yield
        finally:
            with self._changed:
                self._free_bytes += size_bytes
                self._changed.notify()

"""The progress of a fetch: lines in the log, and one line of a terminal that is written again and again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TextIO

log = logging.getLogger("makunouchi.sources")

_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a fetch is. `total_bytes` is None where the source does not say it."""

    label: str
    done_bytes: int
    total_bytes: int | None
    bytes_per_s: float

    def __str__(self) -> str:
        total = "" if self.total_bytes is None else f" of {self.total_bytes / _MIB:.1f}"
        share = f" ({self.done_bytes / self.total_bytes:.0%})" if self.total_bytes else ""
        return f"{self.done_bytes / _MIB:.1f}{total} MiB{share}, {self.bytes_per_s / _MIB:.1f} MiB/s"


class Report(Protocol):
    """Receives the progress every `every_s` seconds, and at the end."""

    every_s: float

    def __call__(self, progress: Progress) -> None: ...


class LogLines:
    """Writes the progress into the log."""

    every_s = 5.0

    def __call__(self, progress: Progress) -> None:
        log.info("source '%s': %s", progress.label, progress)


class TerminalLine:
    """Shows the progress in a line of the terminal `stream`; a file gets no such line."""

    every_s = 0.2

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_open = False

    def __call__(self, progress: Progress) -> None:
        if self._stream.isatty():
            self._is_open = True
            self._stream.write(f"\r\x1b[2K  {progress}")
            self._stream.flush()

    def end(self) -> None:
        """End the line."""
        if self._is_open:
            self._is_open = False
            self._stream.write("\n")


class Meter:
    """Counts the bytes of one fetch. Bytes that were there already count as done, and not for the speed."""

    def __init__(self, label: str, report: Report, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._label = label
        self._report = report
        self._clock = clock
        self._started = self._reported = clock()
        self._received_bytes = 0
        self.done_bytes = 0
        self.total_bytes: int | None = None

    def received(self, count: int) -> None:
        """Count `count` bytes that have arrived."""
        self.done_bytes += count
        self._received_bytes += count
        if self._clock() - self._reported >= self._report.every_s:
            self.report()

    def report(self) -> None:
        """Report now."""
        self._reported = self._clock()
        elapsed_s = max(self._reported - self._started, 1e-3)
        self._report(Progress(self._label, self.done_bytes, self.total_bytes, self._received_bytes / elapsed_s))

"""Download one file of a source into a partial file, which the next try continues."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from models.errors import ArtifactInvalid, SourceUnavailable
from models.store.sources.progress import Meter
from models.store.sources.source import Source, SourceOptions, Stream

log = logging.getLogger("makunouchi.sources")
T = TypeVar("T")

# A source that sends less than this is treated as one that sends nothing.
MIN_BYTES_PER_S: Final = 1024
_READ_BYTES: Final = 1 << 20
_WAIT_S: Final = 0.5
_MAX_WAIT_S: Final = 8.0


@dataclass(frozen=True, slots=True)
class Expected:
    """What is known of a file before it is read: its size and SHA-256 from a manifest, or a maximum alone."""

    max_bytes: int
    size_bytes: int | None = None
    sha256: str = ""


class Download:
    """Downloads files of `source`. `sleep` and `clock` are those of `time`."""

    def __init__(
        self,
        source: Source,
        options: SourceOptions,
        meter: Meter,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._options = options
        self._meter = meter
        self._sleep = sleep
        self._clock = clock

    def revision(self) -> str:
        """Return the revision of the source."""
        return self._retried(self._source.revision, lambda: 0)

    def to_file(self, file: str, target: Path, expected: Expected) -> None:
        """Complete `target` with the bytes of `file`, and compare size and SHA-256.

        A target that was begun earlier is continued; if it then has another SHA-256, it is read once more from the
        start. Raise ArtifactInvalid for other content, ArtifactMissing, SourceUnavailable, and OSError.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        is_continued = target.is_file() and target.stat().st_size > 0
        try:
            self._complete(file, target, expected)
        except ArtifactInvalid:
            target.unlink(missing_ok=True)
            if not is_continued:
                raise
            log.warning("source '%s': '%s' was begun with other content and is read again", self._source.label, file)
            self._complete(file, target, expected)

    def to_bytes(self, file: str, *, max_bytes: int) -> bytes:
        """Return the content of a small file."""
        return self._retried(lambda: self._read(file, max_bytes), lambda: 0)

    def _read(self, file: str, max_bytes: int) -> bytes:
        content = bytearray()
        with self._source.stream(file) as stream:
            self._check_size(file, stream, Expected(max_bytes))
            for chunk in stream.chunks:
                content += chunk
                if len(content) > max_bytes:
                    raise self._too_large(file, max_bytes)
        return bytes(content)

    def _complete(self, file: str, target: Path, expected: Expected) -> None:
        before = self._meter.done_bytes
        digest = self._retried(lambda: self._append(file, target, expected, before), lambda: _size_of(target))
        if expected.sha256 and digest != expected.sha256:
            raise ArtifactInvalid(
                f"'{file}' of source '{self._source.label}' has another SHA-256 than its manifest says; nothing was "
                "saved. Upload the artifact again, its manifest.json last"
            )

    def _append(self, file: str, target: Path, expected: Expected, before: int) -> str:
        """Append what is missing, and return the SHA-256 of the whole. `before` is what other files have."""
        with target.open("a+b") as output:
            digest, present = _hash_of(output)
            self._meter.done_bytes = before + present
            if expected.size_bytes is None or present != expected.size_bytes:
                with self._source.stream(file, start=present) as stream:
                    self._check_size(file, stream, expected)
                    if self._meter.total_bytes is None:
                        self._meter.total_bytes = stream.size_bytes
                    if stream.start != present:
                        output.truncate(0)
                        self._meter.done_bytes = before
                        digest = hashlib.sha256()
                    self._receive(file, stream, expected, output, digest)
        return digest.hexdigest()

    def _receive(self, file: str, stream: Stream, expected: Expected, output: BinaryIO, digest: hashlib._Hash) -> None:
        size_bytes = stream.size_bytes if expected.size_bytes is None else expected.size_bytes
        max_bytes = expected.max_bytes if size_bytes is None else size_bytes
        written = stream.start
        pace = _Pace(self._options.timeout_s, self._clock)
        for chunk in stream.chunks:
            written += len(chunk)
            if written > max_bytes:
                raise self._too_large(file, max_bytes)
            output.write(chunk)
            output.flush()  # a process that is killed keeps it
            digest.update(chunk)
            self._meter.received(len(chunk))
            if pace.is_too_slow(len(chunk)):
                message = f"source '{self._source.label}' sends less than {MIN_BYTES_PER_S} bytes per second"
                raise SourceUnavailable(message, is_transient=True)
        if size_bytes is not None and written < size_bytes:
            message = f"source '{self._source.label}' ended '{file}' after {written} of {size_bytes} bytes"
            raise SourceUnavailable(message, is_transient=True)

    def _check_size(self, file: str, stream: Stream, expected: Expected) -> None:
        if stream.size_bytes is None:
            return
        if stream.size_bytes > expected.max_bytes:
            raise self._too_large(file, expected.max_bytes)
        if expected.size_bytes is not None and stream.size_bytes != expected.size_bytes:
            raise ArtifactInvalid(
                f"'{file}' of source '{self._source.label}' has {stream.size_bytes} bytes; its manifest says "
                f"{expected.size_bytes}. Nothing was saved"
            )

    def _too_large(self, file: str, max_bytes: int) -> ArtifactInvalid:
        named = f"'{file}' of source" if file else "source"
        return ArtifactInvalid(f"{named} '{self._source.label}' has more than {max_bytes} bytes; nothing was saved")

    def _retried(self, attempt: Callable[[], T], progress: Callable[[], int]) -> T:
        """Call `attempt` until it succeeds, or fails `attempts` times in a row without progress."""
        failed, reached = 0, progress()
        while True:
            try:
                return attempt()
            except SourceUnavailable as error:
                failed = 1 if progress() > reached else failed + 1
                if not error.is_transient or failed >= self._options.attempts:
                    raise
                reached = progress()
                wait_s = min(_WAIT_S * 2 ** (failed - 1), _MAX_WAIT_S)
                log.warning("%s; tried again in %g s", error, wait_s)
                self._sleep(wait_s)


class _Pace:
    """Measures the rate at which bytes arrive, over windows of `window_s`."""

    def __init__(self, window_s: float, clock: Callable[[], float]) -> None:
        self._window_s = window_s
        self._clock = clock
        self._since = clock()
        self._count = 0

    def is_too_slow(self, count: int) -> bool:
        """Count bytes, and return whether the last window had too few."""
        self._count += count
        elapsed_s = self._clock() - self._since
        if elapsed_s < self._window_s:
            return False
        is_slow = self._count < MIN_BYTES_PER_S * elapsed_s
        self._since, self._count = self._clock(), 0
        return is_slow


def _hash_of(file: BinaryIO) -> tuple[hashlib._Hash, int]:
    """Return the SHA-256 of a file so far, and its size. The position is then at its end."""
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(_READ_BYTES):
        digest.update(chunk)
    return digest, file.tell()


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0

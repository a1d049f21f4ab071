"""Signs of life of this process for its supervisor: beats of the event loop, and the age of the oldest call of a model.

They are in the file that reports the start of the process (`startup.STARTED_FOLDER`). A process that is stopped, or in
which a thread keeps the interpreter's lock, no longer beats. A thread in an endless loop lets it beat, and its call
ages. The thread also delays the beats, so the age is the time between them. A longer time counts in part, so that the
age hardly grows while the process or the machine is suspended.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

log = logging.getLogger("makunouchi.supervision")

BEAT_EVERY_S: Final = 0.5
# What the time between two beats counts at most.
LONGEST_BEAT_S: Final = 1.5
# Beats, age of the oldest call in milliseconds, versions that are being loaded.
_CONTENT: Final = struct.Struct("=QQQ")


@dataclass(frozen=True, slots=True)
class SignsOfLife:
    """The signs of life of a process, as it wrote them last."""

    beats: int
    call_age_s: float
    is_loading: bool


def read_signs(path: Path) -> SignsOfLife | None:
    """Return the signs of life in a file, or None for a process that writes none."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if len(content) != _CONTENT.size:
        return None
    beats, age, loading = _CONTENT.unpack(content)
    return SignsOfLife(beats, age / 1000, bool(loading))


class Heartbeat:
    """The signs of life of this process. Calls are counted without `start` too, which costs them 0.2 us each."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beaten = clock()
        self._file = -1
        self._beats = 0
        self._numbers = itertools.count(1)
        # The calls that run, oldest first.
        self._calls: dict[int, None] = {}
        self._oldest = 0
        self._age_s = 0.0
        self._loading = 0
        self._lock = threading.Lock()

    def start(self, path: Path) -> None:
        """Write signs of life to `path` from now on. Call inside the event loop. Raises OSError."""
        new = path.with_name(f".{path.name}")
        self._file = os.open(new, os.O_CREAT | os.O_RDWR | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._write()
        new.rename(path)
        self._beat_later(asyncio.get_running_loop())

    def enter_call(self) -> int:
        """Count the start of a call, in any thread, and return its number."""
        number = next(self._numbers)
        self._calls[number] = None
        return number

    def leave_call(self, number: int) -> None:
        """Count the end of a call."""
        del self._calls[number]

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Note that a model is being loaded during the block, which may hold the interpreter's lock for long."""
        self._count_loading(1)
        try:
            yield
        finally:
            self._count_loading(-1)

    def beat(self) -> None:
        """Write that the event loop runs, and the age of the oldest call."""
        self._beats += 1
        now = self._clock()
        step_s, self._beaten = min(now - self._beaten, LONGEST_BEAT_S), now
        try:
            oldest = next(iter(self._calls), 0)
        except RuntimeError:  # another thread has changed it between the two steps
            oldest = 0
        self._age_s = self._age_s + step_s if oldest and oldest == self._oldest else 0.0
        self._oldest = oldest
        self._write()

    def _beat_later(self, loop: asyncio.AbstractEventLoop) -> None:
        def beat() -> None:
            self.beat()
            self._beat_later(loop)

        loop.call_later(BEAT_EVERY_S, beat)

    def _count_loading(self, number: int) -> None:
        with self._lock:
            self._loading += number
        self._write()

    def _write(self) -> None:
        if self._file < 0:
            return
        try:
            os.pwrite(self._file, _CONTENT.pack(self._beats, round(1000 * self._age_s), self._loading), 0)
        except OSError as error:
            log.warning("cannot write signs of life (%s): this process is not replaced when it hangs", error.strerror)
            # The supervisor does not expect signs of life of a process with an empty file.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, 0)
            self._file = -1


# A process has one event loop and one supervisor.
heartbeat: Final = Heartbeat()

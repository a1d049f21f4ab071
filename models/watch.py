"""Faults of what a process reads again while it runs: files, folders, key sets, logs.

A `Watch` handles them all in the same way. Whatever a read raises is logged once, reported, and listed by `failing`
until a read succeeds. The reader keeps its last good state.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from json import JSONDecodeError

from models.errors import PlatformError

# Called with the name of a watch and whether it fails now, at each new fault and at its end.
Listener = Callable[[str, bool], None]

# Errors of content and environment. Others are faults of the code, and are logged with a traceback.
_EXPECTED = (PlatformError, OSError, ValueError, MemoryError, RecursionError)
_failing: weakref.WeakSet[Watch] = weakref.WeakSet()
_listeners: list[Listener] = []
_lock = threading.Lock()


class Watch:
    """The state of one thing that is read again and again. Thread-safe.

    `name` is its name in metrics and in `/health`. `task` completes "cannot ..." in the log, and `keeps` is what
    applies until it can.
    """

    def __init__(self, name: str, task: str, *, keeps: str, log: logging.Logger) -> None:
        self.name = name
        self._task = task
        self._keeps = keeps
        self._log = log
        self._reason = ""
        self._since = 0.0
        self._is_closed = False

    @property
    def is_failing(self) -> bool:
        """Whether the last read failed."""
        return bool(self._reason)

    @property
    def detail(self) -> str:
        """What applies while the reads fail, and since when. Empty otherwise. Contains no content and no path."""
        if not self._reason:
            return ""
        since = datetime.fromtimestamp(self._since, UTC).isoformat(timespec="seconds")
        return f"cannot {self._task} since {since}; {self._keeps}"

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Record whether the block succeeds. Suppress what it raises."""
        try:
            yield
        except Exception as error:
            self.fail(error)
        else:
            self.recover()

    def fail(self, error: Exception) -> None:
        """Record a failed read. The same fault is logged and reported once."""
        reason = reason_of(error)
        if reason == self._reason or self._is_closed:
            return
        if not self._reason:
            self._since = time.time()
        self._reason = reason
        with _lock:
            _failing.add(self)
        trace = None if isinstance(error, _EXPECTED) else error
        self._log.error("cannot %s, %s: %s", self._task, self._keeps, reason, exc_info=trace)
        _notify(self.name, True)

    def recover(self) -> None:
        """Record a successful read."""
        if self._reason:
            self._end()
            self._log.info("can %s again", self._task)

    def close(self) -> None:
        """End the fault of something that is not read any longer. A read that still runs reports nothing."""
        self._is_closed = True
        if self._reason:
            self._end()

    def _end(self) -> None:
        self._reason = ""
        with _lock:
            _failing.discard(self)
        # Several watches may have one name, such as those of the models.
        if self.name not in failing():
            _notify(self.name, False)


def failing() -> dict[str, str]:
    """Return the details of the watches of this process whose reads fail, by name. Those of one name are joined."""
    if not _failing:
        return {}
    with _lock:
        watches = list(_failing)
    details: dict[str, list[str]] = {}
    for watch in watches:
        details.setdefault(watch.name, []).append(watch.detail)
    return {name: " | ".join(sorted(each)) for name, each in details.items()}


def listen(listener: Listener) -> None:
    """Call `listener` at each new fault and at its end, and now for each watch that fails already."""
    _listeners.append(listener)
    for name in failing():
        listener(name, True)


def reason_of(error: Exception) -> str:
    """Return why a read failed, without content, secrets and paths."""
    if isinstance(error, PlatformError):
        return str(error) or type(error).__name__
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not valid {error.encoding}"
    if isinstance(error, JSONDecodeError):
        return f"line {error.lineno}, column {error.colno} is not valid JSON"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


def _notify(name: str, is_failing: bool) -> None:
    for listener in _listeners:
        listener(name, is_failing)

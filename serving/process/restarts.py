"""Restart policy: when circus has to check its processes, and which service cannot start."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import psutil  # type: ignore[import-untyped]

from serving.process.replacements import Replacements

log = logging.getLogger("makunouchi.supervision")

# A start that fails for lack of memory, or because a file is being written, may succeed on a second attempt.
FAILED_STARTS: Final = 3
# A service restarts at once at most this often within this time; otherwise at the next regular check.
IMMEDIATE_RESTARTS: Final = 10
RESTARTS_WITHIN_S: Final = 60.0
# Between two regular checks.
CHECK_EVERY_S: Final = 10.0


class Watched(Protocol):
    """The processes of one service by process id, as circus stores them."""

    name: str
    processes: dict[int, Any]  # Any: circus's own process


class RestartPolicy:
    """A record of the processes that have died. Call `is_due` often, and `restarted` when circus has checked them.

    `folder` contains a file for each process that has started. `ended` are the processes that the watchdog has killed.
    """

    def __init__(
        self,
        watched: Callable[[], Iterable[Watched]],
        folder: Path,
        *,
        replacements: Replacements | None = None,
        ended: Callable[[], Collection[int]] = tuple,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watched = watched
        self._folder = folder
        self._replacements = replacements
        self._ended = ended
        self._clock = clock
        # The names of services of which a process has started.
        self._started: set[str] = set()
        # Recorded, and still listed until circus checks its processes.
        self._dead: set[int] = set()
        self._failed: Counter[str] = Counter()
        self._restarts: dict[str, deque[float]] = {}
        self._checked = clock()
        self._is_due = False
        # The name of a service of which no process has ever started, after FAILED_STARTS attempts.
        self.unstartable: str | None = None

    def is_due(self) -> bool:
        """Record dead processes, and return whether circus has to check its processes now."""
        # A process that circus stops itself, for `--reload`, has not died.
        listed = {
            pid: service_name(each)
            for each in self._watched()
            for pid, process in each.processes.items()
            if not process.stopping
        }
        self._started |= {
            name for pid, name in listed.items() if name not in self._started and self._mark(pid).exists()
        }
        dead = {pid for pid in listed if not _is_alive(pid)}
        for pid in dead - self._dead:
            self._record_death(pid, listed[pid])
        self._dead = dead
        return self._is_due or self._clock() - self._checked >= CHECK_EVERY_S

    def restarted(self) -> None:
        """Record that circus has checked its processes."""
        self._is_due = False
        self._checked = self._clock()

    def _record_death(self, pid: int, name: str) -> None:
        mark = self._mark(pid)
        if pid not in self._ended() and self._replacements is not None:
            if mark.exists():
                self._replacements.add(name, "died", "its process has died; a new process is starting")
            else:
                self._replacements.add(name, "start", "its process failed to start; a new process is starting")
        if mark.exists():
            mark.unlink()
            if pid not in self._ended():
                log.warning("%s (process %d) has died, restarting it", name, pid)
        elif name in self._started:
            log.error("%s failed to start, trying again", name)
        else:
            self._failed[name] += 1
            log.error("%s failed to start, attempt %d of %d", name, self._failed[name], FAILED_STARTS)
            if self._failed[name] >= FAILED_STARTS:
                self.unstartable = name
        restarts = self._restarts.setdefault(name, deque(maxlen=IMMEDIATE_RESTARTS))
        now = self._clock()
        if len(restarts) < IMMEDIATE_RESTARTS or now - restarts[0] >= RESTARTS_WITHIN_S:
            restarts.append(now)
            self._is_due = True

    def _mark(self, pid: int) -> Path:
        return self._folder / str(pid)


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def service_name(watched: Watched) -> str:
    """Return the name of a service: BentoML's watchers are called "service" or "service_<name>"."""
    return option_value(getattr(watched, "args", ()), "--service-name") or watched.name.removeprefix("service_")


def option_value(arguments: Sequence[str], name: str) -> str | None:
    """Return the argument after `name`, or None without it."""
    return str(arguments[arguments.index(name) + 1]) if name in arguments else None

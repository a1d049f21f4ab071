"""Ends processes that hang or outgrow their memory, so that the supervisor replaces them like dead ones.

Time is measured in checks of the supervisor: while it is suspended, such as a laptop that sleeps, none passes, and
no process is ended for its silence during that time.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]

from serving.process.bounds import RunnerBounds
from serving.process.graceful_shutdown import END_GRACE_PERIOD
from serving.process.heartbeat import SignsOfLife, read_signs
from serving.process.memory import private_bytes
from serving.process.replacements import Reason, Replacements
from serving.process.restarts import Watched, service_name

log = logging.getLogger("makunouchi.supervision")

# A busy machine may stop a process for longer than a very short request timeout.
SHORTEST_HANG_S: Final = 3.0
# What the time between two checks counts at most: a busy machine delays them, and a suspended one far longer.
_LONGEST_STEP_S: Final = 2.0
_MEMORY_EVERY_S: Final = 1.0
# A gateway whose event loop runs answers what is in flight within the first time, then fails the rest within the other.
_DRAIN_S: Final = 0.5
_FAIL_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """Time limits of all processes; 0 disables `hang_s`."""

    grace_s: float
    hang_s: float = 0.0
    start_s: float = float("inf")


@dataclass(slots=True)
class _State:
    """What the supervisor knows of one process. `signals` are sent at their times of `age_s`."""

    beats: int = -1
    silent_s: float = 0.0
    age_s: float = 0.0
    is_started: bool = False
    memory_at_s: float = 0.0
    is_measured: bool = False
    signals: deque[tuple[float, signal.Signals]] = field(default_factory=deque)


class Watchdog:
    """Watches the processes of all services. Call `check` often.

    `folder` contains the signs of life of each process that has started. `bounds` are the bounds of services by name.
    """

    def __init__(
        self,
        watched: Callable[[], Iterable[Watched]],
        folder: Path,
        limits: ProcessLimits,
        replacements: Replacements,
        *,
        bounds: Mapping[str, RunnerBounds] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watched = watched
        self._folder = folder
        self._limits = limits
        self._hang_s = max(limits.hang_s, SHORTEST_HANG_S)
        self._replacements = replacements
        self._bounds = bounds or {}
        self._clock = clock
        self._checked = clock()
        self._states: dict[int, _State] = {}
        # The listed processes that were ended here.
        self.ended: set[int] = set()

    def check(self) -> None:
        """End the processes that hang or outgrow their memory."""
        now = self._clock()
        step_s, self._checked = min(now - self._checked, _LONGEST_STEP_S), now
        listed = dict(self._listed())
        self._states = {pid: self._states.get(pid) or _State() for pid in listed}
        self.ended &= listed.keys()
        for pid, watched in listed.items():
            state = self._states[pid]
            state.age_s += step_s
            if pid in self.ended:
                self._continue_ending(pid, state)
            else:
                self._check_process(pid, watched, state, step_s)

    def _listed(self) -> Iterator[tuple[int, Watched]]:
        for watched in self._watched():
            for pid, process in watched.processes.items():
                # circus stops it itself.
                if not process.stopping:
                    yield pid, watched

    def _check_process(self, pid: int, watched: Watched, state: _State, step_s: float) -> None:
        path = self._folder / str(pid)
        signs = read_signs(path)
        state.is_started |= signs is not None or path.exists()
        if not state.is_started and state.age_s >= self._limits.start_s:
            self._end(pid, watched, state, "start", f"it has not started within {self._limits.start_s:g} s")
        if signs is None:
            return
        state.silent_s = state.silent_s + step_s if signs.beats == state.beats else 0.0
        state.beats = signs.beats
        if self._limits.hang_s and (fault := self._hang(state, signs)):
            drains = _is_served(watched) and state.silent_s < SHORTEST_HANG_S
            self._end(pid, watched, state, "hung", fault, drains=drains)
        elif state.age_s >= state.memory_at_s and not signs.is_loading:
            state.memory_at_s = state.age_s + _MEMORY_EVERY_S
            self._check_memory(pid, watched, state, path)

    def _hang(self, state: _State, signs: SignsOfLife) -> str:
        """Return how a process hangs, or an empty text."""
        silence_s = max(self._limits.start_s, self._hang_s) if signs.is_loading else self._hang_s
        if state.silent_s >= silence_s:
            return f"its event loop has not run for {silence_s:.0f} s"
        if signs.call_age_s >= self._hang_s:
            return f"a call of its model has been running for {signs.call_age_s:.0f} s"
        return ""

    def _check_memory(self, pid: int, watched: Watched, state: _State, path: Path) -> None:
        bound = self._bounds.get(service_name(watched), RunnerBounds()).max_memory_bytes
        is_first, state.is_measured = not state.is_measured, True
        if not bound or (used := private_bytes(pid)) <= bound:
            return
        fault = f"it uses {used >> 20} MiB of memory, more than its bound of {bound >> 20} MiB"
        if is_first:
            # A replacement would need as much: the restart policy counts it as a failed start.
            path.unlink(missing_ok=True)
            fault += " already at its start"
        self._end(pid, watched, state, "memory", fault)

    def _end(
        self, pid: int, watched: Watched, state: _State, reason: Reason, fault: str, *, drains: bool = False
    ) -> None:
        name = service_name(watched)
        # Gateways read it as soon as they lose their connections.
        self._replacements.add(name, reason, f"{fault}; a new process is starting")
        log.error("%s (process %d) is killed and restarted: %s; %s", name, pid, fault, _REMEDIES[reason])
        self.ended.add(pid)
        after_s = state.age_s
        if drains:
            state.signals.append((after_s, signal.SIGTERM))
            state.signals.append((after_s := after_s + _DRAIN_S, END_GRACE_PERIOD))
            after_s += _FAIL_S
        state.signals.append((after_s, signal.SIGKILL))
        self._continue_ending(pid, state)

    def _continue_ending(self, pid: int, state: _State) -> None:
        while state.signals and state.signals[0][0] <= state.age_s:
            _, number = state.signals.popleft()
            with suppress(ProcessLookupError, psutil.NoSuchProcess):
                if number == signal.SIGKILL:
                    for child in psutil.Process(pid).children(recursive=True):
                        with suppress(psutil.NoSuchProcess):
                            child.kill()
                os.kill(pid, number)


def _is_served(watched: Watched) -> bool:
    """Return whether clients connect to the processes of a service: BentoML's name of the one that is served."""
    return watched.name == "service"


_REMEDIES: Final[Mapping[Reason, str]] = {
    "hung": "look for an endless loop or a deadlock; if such calls are valid, raise MAKUNOUCHI_HANG_TIMEOUT_S",
    "memory": "look for a leak; if the model needs more, raise its bound (MAKUNOUCHI_RUNNER_MAX_MEMORY_BYTES)",
    "start": "look at its log lines above; if loading takes longer, raise MAKUNOUCHI_START_TIMEOUT_S",
    "died": "",
}

"""The bounds of a runner's process: memory, threads of numerical libraries, and processors."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from serving.settings.settings import Settings

# Read by OpenMP (torch, scikit-learn, LightGBM), OpenBLAS and MKL (numpy, scipy), and Rust's rayon (tokenizers,
# polars) when they are imported. `models.cores` reads the first one for OpenVINO.
THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class RunnerBounds:
    """Bounds of one process; 0 and an empty tuple mean no bound.

    `threads` bounds each numerical library. RLIMIT_AS is not used for the memory: torch and OpenVINO reserve far more
    address space than they use.
    """

    max_memory_bytes: int = 0
    threads: int = 0
    cpus: tuple[int, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> RunnerBounds:
        """Return the bounds that the settings give every runner."""
        return cls(settings.runner_max_memory_bytes, settings.runner_threads, settings.runner_cpus)

    def environment(self) -> dict[str, str]:
        """Return the variables that bound the threads. They must be set before the process starts."""
        return dict.fromkeys(THREAD_VARIABLES, str(self.threads)) if self.threads else {}

    def set_cpus(self) -> None:
        """Let this process run on its processors only, with the threads that it has already started."""
        if not self.cpus or not hasattr(os, "sched_setaffinity"):
            return
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread), self.cpus)


def unavailable_cpus(cpus: tuple[int, ...]) -> tuple[int, ...]:
    """Return those of `cpus` on which this process must not run."""
    if not hasattr(os, "sched_getaffinity"):
        return ()
    return tuple(sorted(set(cpus) - os.sched_getaffinity(0)))

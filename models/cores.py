"""The number of cores that this process may use, from the CPU affinity and the CPU quota of its control groups.

A runtime that starts one thread per core of the machine is slower inside a container with a quota of two cores than one
that starts two threads.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def usable_cores(*, cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Return the number of cores that this process may use, at least 1. Quotas are rounded up.

    Read cgroup v2 (`cpu.max`) and v1 (`cpu.cfs_quota_us`); a machine with neither has no quota. `OMP_NUM_THREADS`, the
    bound that other runtimes read, applies too.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _control_groups(cgroups, membership) if (quota := _quota(folder)) is not None]
    bound = os.environ.get("OMP_NUM_THREADS", "")
    if bound.isdecimal() and int(bound):
        quotas.append(int(bound))
    return max(1, min([allowed, *(math.ceil(quota) for quota in quotas)]))


def _control_groups(cgroups: Path, membership: Path) -> list[Path]:
    """List the folders whose limits apply: the group of the process, its ancestors and the root."""
    folders = [cgroups, cgroups / "cpu"]
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return folders
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        folder = (cgroups / "cpu" if controllers else cgroups) / path.lstrip("/")
        while folder != cgroups and cgroups in folder.parents:
            folders.append(folder)
            folder = folder.parent
    return folders


def _quota(folder: Path) -> float | None:
    """Return the quota in cores, or None without a limit."""
    try:
        if (folder / "cpu.max").is_file():
            limit, period = (folder / "cpu.max").read_text().split()
        else:
            limit = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        if limit in ("max", "-1") or int(period) <= 0:
            return None
        return int(limit) / int(period)
    except (OSError, ValueError):
        return None


def usable_memory_bytes(*, cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Return the memory that this process may use: that of the machine, or the least limit of its control groups."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    folders = [*_control_groups(cgroups, membership), cgroups / "memory"]
    limits = [limit for folder in folders if (limit := _memory_limit(folder)) is not None]
    return min([total, *limits])


def _memory_limit(folder: Path) -> int | None:
    """Return the limit of cgroup v2 (`memory.max`) or v1, or None without one."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        try:
            text = (folder / name).read_text().strip()
        except OSError:
            continue
        return int(text) if text.isdecimal() and int(text) > 0 else None
    return None

"""How many cores this process may really use: the machine's, less affinity, less the container's limit.

A runtime that starts one thread per core of the machine inside a container that owns two of them is slower than one
that starts two.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def usable_cores(*, cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Cores that this process may use, at least 1: affinity, and the CPU quota of its groups, rounded up.

    Reads cgroup v2 (`cpu.max`) and v1 (`cpu.cfs_quota_us`); a machine with neither has no quota.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _own_groups(cgroups, membership) if (quota := _quota(folder)) is not None]
    return max(1, min([allowed, *(math.ceil(quota) for quota in quotas)]))


def _own_groups(cgroups: Path, membership: Path) -> list[Path]:
    """The folders whose limits hold for this process: its group and those above. In a container the root is its own."""
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
    """Cores' worth of time per period, or None without a limit."""
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

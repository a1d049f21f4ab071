"""The number of cores is that of the container, not of the machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models.cores import usable_cores

ALLOWED = len(os.sched_getaffinity(0))


@pytest.fixture(autouse=True)
def _no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def cores(root: Path, files: dict[str, str], member: str = "0::/") -> int:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (root / "membership").write_text(member + "\n")
    return usable_cores(cgroups=root, membership=root / "membership")


@pytest.mark.parametrize(
    ("files", "member", "expected"),
    [
        ({}, "0::/", ALLOWED),
        ({"cpu.max": "max 100000\n"}, "0::/", ALLOWED),
        ({"cpu.max": "100000 100000\n"}, "0::/", 1),
        ({"cpu.max": "50000 100000\n"}, "0::/", 1),
        ({"cpu.max": "110000 100000\n"}, "0::/", min(ALLOWED, 2)),
        ({"cpu.max": "6400000 100000\n"}, "0::/", ALLOWED),
        ({"cpu.max": "nonsense"}, "0::/", ALLOWED),
        ({"a/cpu.max": "100000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b", 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu,cpuacct:/", ALLOWED),
        ({"cpu/d/cpu.cfs_quota_us": "100000", "cpu/d/cpu.cfs_period_us": "100000"}, "4:cpu,cpuacct:/d", 1),
        ({"cpu.max": "100000 0"}, "0::/../..", ALLOWED),
    ],
)
def test_the_quota_limits_the_cores(tmp_path: Path, files: dict[str, str], member: str, expected: int) -> None:
    assert cores(tmp_path, files, member) == expected


def test_without_control_groups_affinity_decides(tmp_path: Path) -> None:
    assert usable_cores(cgroups=tmp_path / "none", membership=tmp_path / "none") == ALLOWED


@pytest.mark.parametrize(("bound", "expected"), [("1", 1), ("0", ALLOWED), ("", ALLOWED), ("all", ALLOWED)])
def test_a_bound_on_threads_applies(bound: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", bound)
    assert cores(tmp_path, {}) == expected

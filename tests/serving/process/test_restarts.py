"""The restart policy and real processes that die before and after their start."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from serving.process.restarts import (
    CHECK_EVERY_S,
    FAILED_STARTS,
    IMMEDIATE_RESTARTS,
    RESTARTS_WITHIN_S,
    RestartPolicy,
)
from serving.process.startup import STARTED_FOLDER, remove_reports, report_started
from tests.live.server import wait_for


class Service:
    """A service whose process sleeps until it is killed; replaces a watcher of circus."""

    name = "service_ImageRunner"

    def __init__(self) -> None:
        self.processes: dict[int, Any] = {}

    def start(self) -> int:
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        process.stopping = False  # type: ignore[attr-defined]
        self.processes = {process.pid: process}
        return process.pid

    def die(self) -> None:
        """Kill the process without waiting for it, so that it remains a zombie."""
        for pid, process in self.processes.items():
            process.kill()
            wait_for(lambda pid=pid: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, "dead")  # type: ignore[misc]

    def bury(self) -> None:
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def service() -> Iterator[Service]:
    one = Service()
    yield one
    one.bury()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def policy(service: Service, clock: Clock, tmp_path: Path) -> RestartPolicy:
    return RestartPolicy(lambda: [service], tmp_path, clock=clock)


def life_and_death(service: Service, policy: RestartPolicy, folder: Path | None = None) -> bool:
    """Start and kill one process of `service`, which reports its start in `folder`. Return whether a restart is due."""
    pid = service.start()
    assert not policy.is_due()
    if folder is not None:
        (folder / str(pid)).touch()
    service.die()
    is_due = policy.is_due()
    service.bury()
    service.processes = {}
    policy.restarted()
    return is_due


def test_a_dead_process_is_restarted_immediately(service: Service, policy: RestartPolicy, tmp_path: Path) -> None:
    assert life_and_death(service, policy, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert not policy.is_due()


def test_a_restart_is_due_until_circus_has_checked(service: Service, policy: RestartPolicy) -> None:
    service.start()
    assert not policy.is_due()
    service.die()
    # circus lists the dead process until then, and it has failed to start once.
    assert all(policy.is_due() for _ in range(FAILED_STARTS))
    assert policy.unstartable is None
    policy.restarted()
    assert not policy.is_due()


def test_a_process_that_circus_stops_has_not_died(service: Service, policy: RestartPolicy) -> None:
    pid = service.start()
    service.processes[pid].stopping = True
    service.die()
    assert not policy.is_due()


def test_a_service_that_has_started_stays_so_when_circus_stops_it(
    service: Service, policy: RestartPolicy, tmp_path: Path
) -> None:
    pid = service.start()
    (tmp_path / str(pid)).touch()
    assert not policy.is_due()
    service.processes[pid].stopping = True
    service.bury()
    for _ in range(FAILED_STARTS):
        life_and_death(service, policy)
    assert policy.unstartable is None


def test_circus_checks_regularly(policy: RestartPolicy, clock: Clock) -> None:
    clock.now += CHECK_EVERY_S
    assert policy.is_due()
    policy.restarted()
    assert not policy.is_due()


def test_immediate_restarts_are_limited(service: Service, policy: RestartPolicy, clock: Clock, tmp_path: Path) -> None:
    assert all(life_and_death(service, policy, tmp_path) for _ in range(IMMEDIATE_RESTARTS))
    assert not life_and_death(service, policy, tmp_path)
    clock.now += RESTARTS_WITHIN_S
    policy.restarted()
    assert life_and_death(service, policy, tmp_path)


def test_a_service_that_has_never_started_is_reported(service: Service, policy: RestartPolicy) -> None:
    for _ in range(FAILED_STARTS - 1):
        life_and_death(service, policy)
        assert policy.unstartable is None
    life_and_death(service, policy)
    assert policy.unstartable == "ImageRunner"


def test_a_service_that_has_started_once_is_always_restarted(
    service: Service, policy: RestartPolicy, tmp_path: Path
) -> None:
    life_and_death(service, policy)
    life_and_death(service, policy, tmp_path)
    for _ in range(2 * FAILED_STARTS):
        life_and_death(service, policy)
    assert policy.unstartable is None


def test_a_process_reports_its_start_only_to_a_supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(STARTED_FOLDER, raising=False)
    report_started()
    monkeypatch.setenv(STARTED_FOLDER, str(tmp_path))
    report_started()
    assert [int(path.name) for path in tmp_path.iterdir()] == [psutil.Process().pid]
    remove_reports()
    assert not tmp_path.exists()
    # A supervisor that is stopping has removed the folder.
    report_started()

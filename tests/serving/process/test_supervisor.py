"""The supervisor and real processes that die before and after their start."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from serving.process.startup import STARTED_FOLDER, report_started
from serving.process.supervisor import FAILED_STARTS, RESTART_EVERY_S, Supervisor
from tests.live.server import wait_for


class Service:
    """A service whose process sleeps until it is killed; replaces a watcher of circus."""

    name = "service_ImageRunner"

    def __init__(self) -> None:
        self.processes: dict[int, Any] = {}

    def start(self) -> int:
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
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
def supervision(service: Service, clock: Clock, tmp_path: Path) -> Supervisor:
    return Supervisor(lambda: [service], tmp_path, clock=clock)


def life_and_death(service: Service, supervision: Supervisor, folder: Path | None = None) -> bool:
    """Start and kill one process of `service`, which reports its start in `folder`. Return whether a restart is due."""
    pid = service.start()
    assert not supervision.check()
    if folder is not None:
        (folder / str(pid)).touch()
    service.die()
    is_due = supervision.check()
    service.bury()
    service.processes = {}
    return is_due


def test_a_dead_process_is_restarted_immediately(service: Service, supervision: Supervisor, tmp_path: Path) -> None:
    assert life_and_death(service, supervision, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert not supervision.check()


def test_immediate_restarts_have_a_minimum_interval(
    service: Service, supervision: Supervisor, clock: Clock, tmp_path: Path
) -> None:
    assert life_and_death(service, supervision, tmp_path)
    clock.now += RESTART_EVERY_S - 1
    assert not life_and_death(service, supervision, tmp_path)
    clock.now += 1
    assert life_and_death(service, supervision, tmp_path)


def test_a_service_that_starts_and_dies_is_always_restarted(
    service: Service, supervision: Supervisor, tmp_path: Path
) -> None:
    for _ in range(2 * FAILED_STARTS):
        life_and_death(service, supervision, tmp_path)
    assert supervision.unstartable is None


def test_a_service_that_cannot_start_is_reported(service: Service, supervision: Supervisor) -> None:
    for _ in range(FAILED_STARTS - 1):
        life_and_death(service, supervision)
        assert supervision.unstartable is None
    life_and_death(service, supervision)
    assert supervision.unstartable == "ImageRunner"


def test_a_successful_start_resets_the_count_of_failed_ones(
    service: Service, supervision: Supervisor, tmp_path: Path
) -> None:
    for _ in range(2):
        for _ in range(FAILED_STARTS - 1):
            life_and_death(service, supervision)
        life_and_death(service, supervision, tmp_path)
    assert supervision.unstartable is None


def test_a_process_reports_its_start_only_to_a_supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(STARTED_FOLDER, raising=False)
    report_started()
    monkeypatch.setenv(STARTED_FOLDER, str(tmp_path))
    report_started()
    assert [int(path.name) for path in tmp_path.iterdir()] == [psutil.Process().pid]

"""Supervisor counts real processes that die, and tells a process that has started from one that has not."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from serving.process.startup import STARTED_FOLDER, tell_started
from serving.process.supervisor import AT_ONCE_S, FAILED_STARTS, Supervisor
from tests.live.server import wait_for


class Service:
    """One service, whose process sleeps until it is killed; stands for circus's watcher."""

    name = "service_ImageRunner"

    def __init__(self) -> None:
        self.processes: dict[int, Any] = {}

    def start(self) -> int:
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        self.processes = {process.pid: process}
        return process.pid

    def die(self) -> None:
        """Dead, and not waited for: as it is when its end is first noticed."""
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
    """One process of `service`; with a folder it says there that it has started."""
    pid = service.start()
    assert not supervision.look()
    if folder is not None:
        (folder / str(pid)).touch()
    service.die()
    is_wanted = supervision.look()
    service.bury()
    service.processes = {}
    return is_wanted


def test_a_process_that_dies_is_wanted_back_at_once(service: Service, supervision: Supervisor, tmp_path: Path) -> None:
    assert life_and_death(service, supervision, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert not supervision.look()


def test_one_that_dies_again_and_again_waits_for_the_next_look(
    service: Service, supervision: Supervisor, clock: Clock, tmp_path: Path
) -> None:
    assert life_and_death(service, supervision, tmp_path)
    clock.now += AT_ONCE_S - 1
    assert not life_and_death(service, supervision, tmp_path)
    clock.now += 1
    assert life_and_death(service, supervision, tmp_path)


def test_what_starts_and_dies_is_never_given_up(service: Service, supervision: Supervisor, tmp_path: Path) -> None:
    for _ in range(2 * FAILED_STARTS):
        life_and_death(service, supervision, tmp_path)
    assert supervision.hopeless is None


def test_what_cannot_start_is_given_up(service: Service, supervision: Supervisor) -> None:
    for _ in range(FAILED_STARTS - 1):
        life_and_death(service, supervision)
        assert supervision.hopeless is None
    life_and_death(service, supervision)
    assert supervision.hopeless == "ImageRunner"


def test_one_good_start_forgives_the_failed_ones(service: Service, supervision: Supervisor, tmp_path: Path) -> None:
    for _ in range(2):
        for _ in range(FAILED_STARTS - 1):
            life_and_death(service, supervision)
        life_and_death(service, supervision, tmp_path)
    assert supervision.hopeless is None


def test_a_process_says_that_it_has_started_only_where_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(STARTED_FOLDER, raising=False)
    tell_started()
    monkeypatch.setenv(STARTED_FOLDER, str(tmp_path))
    tell_started()
    assert [int(path.name) for path in tmp_path.iterdir()] == [psutil.Process().pid]

"""The restart policy and real processes that die before and after their start."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from serving.process.heartbeat import Heartbeat
from serving.process.replacements import Replacements, read_replacements
from serving.process.restarts import (
    CHECK_EVERY_S,
    FAILED_STARTS,
    IMMEDIATE_RESTARTS,
    RESTARTS_WITHIN_S,
    RestartPolicy,
)
from serving.process.startup import STARTED_FOLDER, remove_reports, report_started
from tests.serving.process.supervised_services import Clock, Service


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


def test_deaths_and_failed_starts_are_recorded(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STARTED_FOLDER, str(tmp_path))
    ended: set[int] = set()
    policy = RestartPolicy(lambda: [service], tmp_path, replacements=Replacements(tmp_path), ended=lambda: ended)
    life_and_death(service, policy)
    life_and_death(service, policy, tmp_path)
    record = read_replacements()["ImageRunner"]
    assert record.counts == {"start": 1, "died": 1}
    assert record.detail == "its process has died; a new process is starting"
    # The watchdog has recorded those that it has killed.
    ended.add(service.start())
    service.die()
    assert policy.is_due()
    assert read_replacements()["ImageRunner"] == record


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
    async def report() -> None:
        report_started()

    monkeypatch.setattr("serving.process.startup.heartbeat", Heartbeat())
    monkeypatch.delenv(STARTED_FOLDER, raising=False)
    asyncio.run(report())
    monkeypatch.setenv(STARTED_FOLDER, str(tmp_path))
    asyncio.run(report())
    assert [int(path.name) for path in tmp_path.iterdir()] == [psutil.Process().pid]
    remove_reports()
    assert not tmp_path.exists()
    # A supervisor that is stopping has removed the folder.
    asyncio.run(report())

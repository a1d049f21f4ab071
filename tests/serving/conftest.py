"""Fixtures: a new service in this process, and a Redis server."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from serving.jobs import service as job_service
from serving.jobs.decoding.sandbox import Sandbox
from serving.runners.client import timing
from tests.serving.in_process_service import LocalService
from tests.serving.redis_server import Redis


class _SharedSandbox(Sandbox):
    """Child processes that several services share. Their fork server ends with this process."""

    def close(self) -> None:
        pass


@pytest.fixture(scope="session", autouse=True)
def _shared_fork_servers() -> Iterator[None]:
    """Let all services of this process share one fork server: a start takes half a second of processor time."""
    shared = functools.cache(_SharedSandbox)

    def sandbox(modules: Iterable[str]) -> Sandbox:
        return shared(tuple(sorted({*modules})))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job_service, "Sandbox", sandbox)
        yield


@pytest.fixture
def local_service() -> LocalService:
    return LocalService()


@pytest.fixture(autouse=True)
def _long_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise the time limits of runners: a pause of the machine must not fail a test.

    Tests of timeouts set their own.
    """
    monkeypatch.setattr(timing, "CONNECT_TIMEOUT_S", 30.0)
    monkeypatch.setattr(timing, "PING_TIMEOUT_S", 30.0)


@pytest.fixture
def redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Redis]:
    """A Redis server, with long time limits for its clients."""
    for limit in ("CALL_TIMEOUT_S", "CONNECT_TIMEOUT_S", "SOCKET_TIMEOUT_S"):
        monkeypatch.setattr(f"serving.redis_client.{limit}", 30.0)
    server = Redis(tmp_path)
    yield server
    server.stop()

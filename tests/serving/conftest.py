"""The local_service: one fresh service in this process for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.runners.client import timing
from tests.serving.in_process_service import LocalService
from tests.serving.redis_server import Redis


@pytest.fixture
def local_service() -> LocalService:
    return LocalService()


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner is not given up because the machine paused; a test of giving up sets limits of its own."""
    monkeypatch.setattr(timing, "CONNECT_TIMEOUT_S", 30.0)
    monkeypatch.setattr(timing, "PING_TIMEOUT_S", 30.0)


@pytest.fixture
def redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Redis]:
    """A Redis that is not given up because the machine paused."""
    for limit in (
        "access.token_buckets.TIMEOUT_S",
        "http.cache_store.TIMEOUT_S",
        "redis_client.CONNECT_S",
        "redis_client.ANSWER_S",
    ):
        monkeypatch.setattr(f"serving.{limit}", 30.0)
    server = Redis(tmp_path)
    yield server
    server.stop()

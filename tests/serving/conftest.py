"""The kitchen: one fresh service in this process for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.kitchen import Kitchen
from tests.serving.redis_server import Redis


@pytest.fixture
def kitchen() -> Kitchen:
    return Kitchen()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path)
    yield server
    server.stop()

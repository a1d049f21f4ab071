"""The kitchen: one fresh service in this process for each test."""

from __future__ import annotations

import pytest

from tests.serving.kitchen import Kitchen


@pytest.fixture
def kitchen() -> Kitchen:
    return Kitchen()

"""Fixtures that the tests of jobs share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from serving.jobs.decoding.sandbox import Sandbox


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """Child processes that decode and export."""
    children = Sandbox()
    yield children
    children.close()

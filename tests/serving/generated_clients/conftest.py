"""The service that the generated clients call."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.serving.http_server import listening
from tests.serving.in_process_service import LocalService


@pytest.fixture(scope="package")
def address() -> Iterator[str]:
    with listening(LocalService().edged) as address:
        yield f"http://{address}"

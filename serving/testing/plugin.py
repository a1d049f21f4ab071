"""The pytest plugin: `pytest_plugins = ["serving.testing.plugin"]` in `conftest.py`.

def test_churn(makunouchi_test_client):
    assert makunouchi_test_client("churn").predict({"age": 44})["prediction"] == "stays"
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from serving.testing.client import ModelClient


class MakeClient(Protocol):
    """Returns the client of a model, each version of which is loaded once in a session."""

    def __call__(self, tag: str, *, store: Path | None = None, **settings: Any) -> ModelClient:
        """As `serving.testing.client.model_client`."""
        ...


@pytest.fixture(scope="session")
def makunouchi_test_client() -> Iterator[MakeClient]:
    """Return a function that gives the client of a model in the store: no process, no port."""
    # Tests that do not use the fixture start without the service.
    from models.store.artifacts import find
    from serving.testing.client import model_client

    clients: dict[object, ModelClient] = {}
    with contextlib.ExitStack() as stack:

        def client(tag: str, *, store: Path | None = None, **settings: Any) -> ModelClient:
            version = find(tag, store=store).tag
            key = (version, store, tuple(sorted(settings.items())))
            if key not in clients:
                clients[key] = stack.enter_context(model_client(version, store=store, **settings))
            return clients[key]

        yield client

"""Fixtures with the default tabular model, cached until what its training imports changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.store.artifacts import Artifact, find
from tests.artifact_cache import cached_store, imports_key


def trained_tabular() -> Path:
    """Return a model store with `tabular`, trained on German credit with the default options."""
    from training.tabular.params import Params
    from training.tabular.train import train

    return cached_store("tabular", imports_key("training.tabular.train"), lambda store: train(Params(), store=store))


@pytest.fixture(scope="session")
def tabular_store() -> Path:
    """Return a model store with `tabular`, trained on German credit with the default options."""
    return trained_tabular()


@pytest.fixture(scope="session")
def tabular_artifact(tabular_store: Path) -> Artifact:
    """Return the newest artifact of `tabular_store`."""
    return find("tabular", store=tabular_store)

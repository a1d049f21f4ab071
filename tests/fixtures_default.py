"""Fixtures with the default models, trained by the command that `make serve` runs, and with the real service."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.artifact_cache import cached_home, imports_key
from tests.fixtures_image import trained_image
from tests.fixtures_recommender import trained_recommender
from tests.fixtures_tabular import trained_tabular
from tests.live.server import Server, serving


def trained_default_home() -> Path:
    """Return a BENTOML_HOME whose store holds the default models.

    Each model is kept on its own, so that a change retrains those that it concerns, and an interrupted run loses one.
    The command trains what is missing or of an older recipe.
    """
    stores = (trained_image(), trained_tabular(), trained_recommender("recommender-default"))
    key = imports_key("training.__main__", also=" ".join(store.parent.name for store in stores))
    return cached_home("default", key, "training", stores=stores)


@pytest.fixture(scope="session")
def default_home() -> Path:
    """A BENTOML_HOME whose store holds the default models."""
    return trained_default_home()


@pytest.fixture(scope="session")
def service(default_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start the real service with the default models, once for all tests that do not change it."""
    with serving("service:Gateway", env={"BENTOML_HOME": str(own_home(default_home, tmp_path_factory))}) as server:
        yield server


def own_home(default_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a separate BENTOML_HOME with a copy of the default models, for services that write into it."""
    home = tmp_path_factory.mktemp("bentoml")
    shutil.copytree(default_home / "models", home / "models")
    return home

"""Fixtures with the default models, trained by the command that `make serve` runs, and with the real service."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.artifact_cache import cached_home, sources_key
from tests.live.server import Server, serving


@pytest.fixture(scope="session")
def default_home(image_store: Path, tabular_store: Path) -> Path:
    """A BENTOML_HOME whose store holds the default models. Kept until the sources or the locked versions change.

    The command trains what the stores of single models do not hold.
    """
    key = sources_key("requirements.lock", "models/**/*.py", "training/**/*.py")
    return cached_home("default", key, "training", stores=(image_store, tabular_store))


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

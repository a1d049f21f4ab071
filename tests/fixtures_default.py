"""The default models, trained once by the command that `make serve` runs, and the real service on top of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.artifact_cache import cached_home, sources_key
from tests.live.server import Server, serving


@pytest.fixture(scope="session")
def default_home() -> Path:
    """A BENTOML_HOME whose store holds the default models. Kept until the sources or the locked versions change."""
    return cached_home("default", sources_key("requirements.lock", "models/**/*.py", "training/**/*.py"), "training")


@pytest.fixture(scope="session")
def service(default_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The real service with the default models, started once for all tests that only read from it."""
    with serving("service:Gateway", env={"BENTOML_HOME": str(own_home(default_home, tmp_path_factory))}) as server:
        yield server


def own_home(default_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BENTOML_HOME of its own with a copy of the default models: services that share one disturb each other."""
    home = tmp_path_factory.mktemp("bentoml")
    shutil.copytree(default_home / "models", home / "models")
    return home

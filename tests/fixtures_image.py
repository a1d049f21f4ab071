"""Fixtures with the default image classifier, cached until what its training imports changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.store.artifacts import Artifact, find
from tests.artifact_cache import cached_store, imports_key


def trained_image() -> Path:
    """Return a model store with `image`, trained with the default options."""
    from training.image.params import Params
    from training.image.train import train

    return cached_store("image", imports_key("training.image.train"), lambda store: train(Params(), store=store))


@pytest.fixture(scope="session")
def image_store() -> Path:
    """Return a model store with `image`, trained with the default options."""
    return trained_image()


@pytest.fixture(scope="session")
def image_artifact(image_store: Path) -> Artifact:
    """Return the newest artifact of `image_store`."""
    return find("image", store=image_store)

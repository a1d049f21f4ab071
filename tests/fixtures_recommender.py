"""A fixture with a recommender of MovieLens-100K, cached until its sources change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.artifact_cache import cached_home, sources_key

SOURCES = (
    "models/*.py",
    "models/store/*.py",
    "models/recommender/**/*.py",
    "training/*.py",
    "training/recommender/**/*.py",
)
_OPTIONS = ("--epochs", "10", "--factors", "32", "--algorithms", "lightfm-warp,ease,item-knn,popular")


@pytest.fixture(scope="session")
def recommender_store() -> Path:
    """Return a model store, in a BENTOML_HOME, with the artifact "recommender"."""
    key = sources_key(*SOURCES, also=" ".join(_OPTIONS))
    return cached_home("recommender", key, "training.recommender", *_OPTIONS) / "models"

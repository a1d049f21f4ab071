"""Fixtures with recommenders of MovieLens-100K, cached until what their training imports changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.artifact_cache import cached_home, imports_key

_OPTIONS = ("--epochs", "10", "--factors", "32", "--algorithms", "lightfm-warp,ease,item-knn,popular")


def trained_recommender(name: str, *options: str) -> Path:
    """Return a model store, in a BENTOML_HOME, with what `python -m training.recommender` saves with these options."""
    key = imports_key("training.recommender.__main__", also=" ".join(options))
    return cached_home(name, key, "training.recommender", *options) / "models"


@pytest.fixture(scope="session")
def recommender_store() -> Path:
    """Return a model store with the artifact "recommender", of few algorithms and epochs."""
    return trained_recommender("recommender", *_OPTIONS)

"""A store with the default image classifier in it, trained once and kept until the code that makes it changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.store import Artifact, find
from tests.kept_store import kept_store, sources_key

# What the artifact is made by; other people's models are trained anew for other files.
SOURCES = (
    "models/card.py",
    "models/image*.py",
    "models/networks.py",
    "models/openvino_runtime.py",
    "models/pixels.py",
    "models/profile.py",
    "models/store.py",
    "models/torch*.py",
    "training/finetune.py",
    "training/image*.py",
    "training/packages.py",
    "training/photographs.py",
    "training/report.py",
)


@pytest.fixture(scope="session")
def image_store() -> Path:
    """A model store (a folder) that holds `image`, made by `python -m training.image` with default options."""
    from training.image import train
    from training.image_params import Params

    return kept_store("image", sources_key(*SOURCES), lambda store: train(Params(), store=store))


@pytest.fixture(scope="session")
def image_artifact(image_store: Path) -> Artifact:
    """The newest artifact of `image_store`."""
    return find("image", store=image_store)

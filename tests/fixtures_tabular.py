"""A store with the default tabular model in it, trained once and kept until the code that makes it changes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from models.store import Artifact, find
from tests.kept_store import kept_store

ROOT = Path(__file__).parent.parent


def source_key(*folders: str) -> str:
    """A hash of the Python sources that lie directly in these folders."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted((ROOT / folder).glob("*.py")):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@pytest.fixture(scope="session")
def tabular_store() -> Path:
    """A model store (a folder) that holds `tabular`, trained on German credit with default options."""
    from training.tabular import Params, train

    return kept_store("tabular", source_key("models", "training"), lambda store: train(Params(), store=store))


@pytest.fixture(scope="session")
def tabular_artifact(tabular_store: Path) -> Artifact:
    """The newest artifact of `tabular_store`."""
    return find("tabular", store=tabular_store)

"""A store with the default tabular model in it, trained once and kept until the code that makes it changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.store import Artifact, find
from tests.kept_store import kept_store, sources_key


@pytest.fixture(scope="session")
def tabular_store() -> Path:
    """A model store (a folder) that holds `tabular`, trained on German credit with default options."""
    from training.tabular import train
    from training.tabular_params import Params

    return kept_store(
        "tabular", sources_key("models/*.py", "training/*.py"), lambda store: train(Params(), store=store)
    )


@pytest.fixture(scope="session")
def tabular_artifact(tabular_store: Path) -> Artifact:
    """The newest artifact of `tabular_store`."""
    return find("tabular", store=tabular_store)

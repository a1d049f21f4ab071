"""A store with the default tabular model in it, trained once and kept until the code that makes it changes."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from models.store import Artifact, find
from training.packages import cache_folder

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

    kept = cache_folder() / "test-artifacts" / f"tabular-{source_key('models', 'training')}"
    if not (kept / "tabular").is_dir():
        kept.parent.mkdir(parents=True, exist_ok=True)
        # Trained aside and renamed, so that an interrupt leaves no half store and two runs do not meet.
        scratch = Path(tempfile.mkdtemp(prefix=".tabular-", dir=kept.parent))
        try:
            train(Params(), store=scratch / "models")
            if not kept.is_dir():
                os.rename(scratch / "models", kept)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return kept


@pytest.fixture(scope="session")
def tabular_artifact(tabular_store: Path) -> Artifact:
    """The newest artifact of `tabular_store`."""
    return find("tabular", store=tabular_store)

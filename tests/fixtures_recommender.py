"""A real recommender of MovieLens-100K, trained once for as long as its sources stay the same."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from models.store import versions
from training.packages import cache_folder

_ROOT = Path(__file__).parent.parent
_OPTIONS = ("--epochs", "10", "--factors", "32", "--algorithms", "lightfm-warp,ease,item-knn,popular")


@pytest.fixture(scope="session")
def recommender_store() -> Path:
    """A model store (its parent is a BENTOML_HOME) that holds the artifact "recommender"."""
    home = cache_folder() / "test-artifacts" / f"recommender-{_sources()}"
    if not versions("recommender", store=home / "models"):
        home.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".training-", dir=home.parent))
        subprocess.run(
            [sys.executable, "-m", "training.recommender", *_OPTIONS],
            cwd=_ROOT,
            env={**os.environ, "BENTOML_HOME": str(scratch), "BENTOML_DO_NOT_TRACK": "True"},
            check=True,
        )
        # Another test run may have been faster; its result is as good.
        try:
            scratch.rename(home)
        except OSError:
            shutil.rmtree(scratch)
    return home / "models"


def _sources() -> str:
    digest = hashlib.sha256(" ".join(_OPTIONS).encode())
    for folder in ("models", "training"):
        for path in sorted((_ROOT / folder).rglob("*.py")):
            digest.update(path.relative_to(_ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]

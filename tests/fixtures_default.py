"""The default models, trained once by the command that `make serve` runs, and the real service on top of them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.server import Server, serving
from training.packages import cache_folder

ROOT = Path(__file__).parent.parent


def sources_key() -> str:
    """A hash of what decides how the default models come out: the sources and the locked versions."""
    digest = hashlib.sha256((ROOT / "requirements.lock").read_bytes())
    for folder in ("models", "training"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@pytest.fixture(scope="session")
def default_home() -> Path:
    """A BENTOML_HOME whose store holds the default models. Kept until the sources change."""
    home = cache_folder() / "test-artifacts" / f"default-{sources_key()}"
    if not home.is_dir():
        home.parent.mkdir(parents=True, exist_ok=True)
        # Trained aside and renamed, so that an interrupt leaves no half store and two runs do not meet.
        scratch = Path(tempfile.mkdtemp(prefix=".default-", dir=home.parent))
        try:
            environment = {**os.environ, "BENTOML_HOME": str(scratch)}
            subprocess.run([sys.executable, "-m", "training"], cwd=ROOT, env=environment, check=True)
            scratch.rename(home)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return home


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

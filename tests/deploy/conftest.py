"""A Bento of the default models, built by `bentoml build` and exported by `bentoml export`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.image import build_bento
from deploy.lock import ROOT


@dataclass(frozen=True, slots=True)
class BuiltBento:
    """A Bento: its tag, the BENTOML_HOME of the build, and the folder of an exported copy."""

    tag: str
    home: Path
    folder: Path


@pytest.fixture(scope="session")
def bento(default_home: Path, tmp_path_factory: pytest.TempPathFactory) -> BuiltBento:
    home = tmp_path_factory.mktemp("build")
    shutil.copytree(default_home / "models", home / "models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(home))
        tag = build_bento()
    away = tmp_path_factory.mktemp("away")
    # Not the default format, which compresses in 50 s of processor time what tar writes in one.
    archive = away / "makunouchi.tar"
    subprocess.run(
        [str(Path(sys.executable).parent / "bentoml"), "export", tag, str(archive)],
        env={**os.environ, "BENTOML_HOME": str(home)}, cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    folder = away / "bento"
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return BuiltBento(tag, home, folder)

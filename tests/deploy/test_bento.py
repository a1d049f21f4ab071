"""The Bento: what is in it, and that it serves in another folder, with another store and the repository gone."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from deploy.lock import SERVING_LOCK, read_lock
from models.card import CARD_FILE
from models.packed import pinned_versions
from models.store import MANIFEST_FILE, find, saving
from tests.deploy.calls import all_main_calls
from tests.deploy.conftest import BuiltBento
from tests.live.server import Server, serving

pytestmark = pytest.mark.live

_MODELS = {"image", "tabular", "recommender"}
_BLOCKER = """
import importlib.abc, pathlib, sys

BLOCKED = frozenset(pathlib.Path(__file__).with_name("blocked.txt").read_text().split())

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"{name} is not among the serving packages", name=name)

sys.meta_path.insert(0, Blocker())
"""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_it_holds_the_service_and_nothing_else(bento: BuiltBento) -> None:
    source = bento.folder / "src"
    files = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert {file.partition("/")[0] for file in files} == {
        "service.py", "models", "serving", "README.md", "bentofile.yaml"
    }  # fmt: skip
    assert "models/packed.py" in files
    assert "serving/settings.py" in files
    assert not [file for file in files if file.endswith(".pyc") or "test" in file.rpartition("/")[2]]


def test_its_packages_are_the_locked_ones_and_no_index_is_named(bento: BuiltBento) -> None:
    python = bento.folder / "env" / "python"
    text = (python / "requirements.txt").read_text()
    for pin in read_lock(SERVING_LOCK):
        assert f"{pin.name}=={pin.version}" in text
        assert pin.sha256 in text
    named = {normal(line.partition("==")[0]) for line in text.splitlines() if "==" in line}
    assert not named & {"torch", "torchvision", "lightfm-next", "lightfm", "scikit-learn", "pandas", "implicit"}
    for file in (*python.iterdir(), bento.folder / "bento.yaml", bento.folder / "env" / "docker" / "Dockerfile"):
        assert "://" not in file.read_text(), f"{file.name} holds an address"


def test_its_models_are_pinned_by_exact_version(bento: BuiltBento) -> None:
    listed = yaml.safe_load((bento.folder / "bento.yaml").read_text())["models"]
    built_with = {name: find(name, store=bento.home / "models").version for name in _MODELS}
    assert {tag: version for tag, _, version in (model["tag"].partition(":") for model in listed)} == built_with
    assert pinned_versions(bento.folder / "src") == built_with
    for name, version in built_with.items():
        assert (bento.folder / "models" / name / version / CARD_FILE).is_file()


@pytest.fixture(scope="module")
def serving_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH: with it nothing can be imported that the serving lock does not name."""
    allowed = {pin.name for pin in read_lock(SERVING_LOCK)}
    owners = importlib.metadata.packages_distributions()
    blocked = {module for module, names in owners.items() if not allowed & {normal(name) for name in names}}
    # What pip itself is made of has no part in either.
    blocked -= {"pip", "_distutils_hack"}
    folder = tmp_path_factory.mktemp("serving-only")
    (folder / "sitecustomize.py").write_text(_BLOCKER)
    (folder / "blocked.txt").write_text(" ".join(sorted(blocked)))
    return folder


@pytest.fixture(scope="module")
def other_home(bento: BuiltBento, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BENTOML_HOME of another machine, whose store holds a newer image model than the Bento's."""
    home = tmp_path_factory.mktemp("other")
    artifact = find("image", store=bento.home / "models")
    card = replace(artifact.card, created=datetime.now(UTC))
    with saving(card, version="newer", store=home / "models") as folder:
        for path in artifact.folder.iterdir():
            if path.name not in (CARD_FILE, MANIFEST_FILE, "model.yaml"):
                shutil.copy(path, folder)
    return home


@pytest.fixture(scope="module")
def server(bento: BuiltBento, serving_only: Path, other_home: Path) -> Iterator[Server]:
    env = {"BENTOML_HOME": str(other_home), "PYTHONPATH": str(serving_only)}
    with serving(str(bento.folder), folder=bento.folder.parent, env=env) as running:
        yield running


def test_training_packages_cannot_be_imported_there(serving_only: Path) -> None:
    for module in ("torch", "lightfm", "sklearn", "pandas", "implicit", "pytest"):
        done = subprocess.run(
            [sys.executable, "-c", f"import {module}"],
            env={**os.environ, "PYTHONPATH": str(serving_only)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert "is not among the serving packages" in done.stderr


def test_it_answers_elsewhere_with_the_serving_packages_alone(server: Server) -> None:
    assert set(all_main_calls(server.url)) == _MODELS


def test_a_newer_model_in_the_local_store_does_not_replace_a_pinned_one(server: Server, bento: BuiltBento) -> None:
    served = all_main_calls(server.url)
    assert served == {name: find(name, store=bento.home / "models").version for name in _MODELS}

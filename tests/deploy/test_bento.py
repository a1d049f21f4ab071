"""The Bento: its content, and that it serves from another folder, with another store and without the repository."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sysconfig
import venv
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from packaging.utils import canonicalize_name

from deploy.lock import ROOT, SERVING_LOCK, read_lock
from deploy.pruning import prune, read_patterns
from models.card import CARD_FILE
from models.store.artifacts import find
from models.store.bento_models import pinned_tags, pinned_versions
from models.store.manifest import MANIFEST_FILE
from models.store.saving import saving
from tests.deploy.calls import all_main_calls
from tests.deploy.conftest import BuiltBento
from tests.live.server import Server, serving

pytestmark = pytest.mark.live

_MODELS = {"image", "tabular", "recommender"}
_IMPORTS = """
import importlib.util
for name in ("bentoml", "torch", "lightfm", "sklearn", "pandas", "implicit", "pytest"):
    if importlib.util.find_spec(name):
        print(name)
"""


def test_it_holds_the_service_and_nothing_else(bento: BuiltBento) -> None:
    source = bento.folder / "src"
    files = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert {file.partition("/")[0] for file in files} == {
        "service.py", "models", "serving", "README.md", "bentofile.yaml"
    }  # fmt: skip
    assert "models/store/bento_models.py" in files
    assert "serving/settings/settings.py" in files
    assert not [file for file in files if file.endswith(".pyc") or "test" in file.rpartition("/")[2]]


def test_its_packages_are_the_locked_ones_and_no_index_is_named(bento: BuiltBento) -> None:
    python = bento.folder / "env" / "python"
    text = (python / "requirements.txt").read_text()
    for pin in read_lock(SERVING_LOCK):
        assert f"{pin.name}=={pin.version}" in text
        assert all(digest in text for digest in pin.hashes)
    named = {canonicalize_name(line.partition("==")[0]) for line in text.splitlines() if "==" in line}
    assert not named & {"torch", "torchvision", "lightfm-next", "lightfm", "scikit-learn", "pandas", "implicit"}
    for file in (*python.iterdir(), bento.folder / "bento.yaml", bento.folder / "env" / "docker" / "Dockerfile"):
        assert "://" not in file.read_text(), f"{file.name} holds an address"


def test_its_models_are_pinned_by_exact_version(bento: BuiltBento) -> None:
    listed = pinned_tags(yaml.safe_load((bento.folder / "bento.yaml").read_text()))
    built_with = {name: find(name, store=bento.home / "models").version for name in _MODELS}
    assert {tag: version for tag, _, version in (each.partition(":") for each in listed)} == built_with
    assert pinned_versions(bento.folder / "src") == built_with
    for name, version in built_with.items():
        assert (bento.folder / "models" / name / version / CARD_FILE).is_file()


@pytest.fixture(scope="module")
def image_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment like the image's: the locked packages without the files that the image omits."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    for pin in read_lock(SERVING_LOCK):
        if pin.applies_to(platform.python_version()):
            copy_package(pin.name, site)
    prune(site, read_patterns(ROOT / "deploy" / "container" / "left-out.txt"))
    return folder / "bin" / "python"


def copy_package(name: str, site: Path) -> None:
    for file in importlib.metadata.files(name) or []:
        source = Path(str(file.locate()))
        if ".." in file.parts or not source.is_file():
            continue
        target = site / file
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:
            # Another file system.
            shutil.copy2(source, target)


@pytest.fixture(scope="module")
def other_home(bento: BuiltBento, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The BENTOML_HOME of another machine. Its store holds a newer image model than the Bento."""
    home = tmp_path_factory.mktemp("other")
    artifact = find("image", store=bento.home / "models")
    card = replace(artifact.card, created=datetime.now(UTC))
    with saving(card, version="newer", store=home / "models") as folder:
        for path in artifact.folder.iterdir():
            if path.name not in (CARD_FILE, MANIFEST_FILE, "model.yaml"):
                shutil.copy(path, folder)
    return home


@pytest.fixture(scope="module")
def server(bento: BuiltBento, image_python: Path, other_home: Path) -> Iterator[Server]:
    """The exported Bento, started with the command of the image."""
    env = {"BENTOML_HOME": str(other_home), "PYTHONPATH": ""}
    program = (str(image_python), "-m", "serving.process.supervisor")
    with serving(str(bento.folder), folder=bento.folder / "src", env=env, program=program) as running:
        yield running


def test_training_packages_are_not_in_its_environment(image_python: Path) -> None:
    done = subprocess.run(
        [image_python, "-c", _IMPORTS], capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]}
    )
    assert done.stdout.split() == ["bentoml"]


def test_it_answers_elsewhere_with_the_serving_packages_alone(server: Server) -> None:
    assert set(all_main_calls(server.url)) == _MODELS


def test_a_newer_model_in_the_local_store_does_not_replace_a_pinned_one(server: Server, bento: BuiltBento) -> None:
    served = all_main_calls(server.url)
    assert served == {name: find(name, store=bento.home / "models").version for name in _MODELS}

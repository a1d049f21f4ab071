"""No way into the store takes a format that may run code when it is loaded.

The tests of S3, the Hub and MLflow try the same files.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from models.errors import ArtifactInvalid, TrainingError
from models.store.archive import import_version
from models.store.artifacts import find, read_artifact
from models.store.saving import saving
from models.store.sources.fetch import fetch
from tests.models.store.forbidden_formats import BY_NAME, FORBIDDEN, content_of, refused, spoil
from tests.models.store.sources.conftest import FAST, save_artifact
from tests.models.store.sources.web_server import web_server
from tests.models.test_card import make_card
from training import save as save_fitted
from training.python.weights import copy_weights


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "models"


def _save(folder: Path) -> None:
    with saving(make_card("tiny")) as target:
        shutil.copytree(folder / "more", target / "more")


def _save_weights(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        copy_weights(folder / "more", Path(scratch, "weights"))


def _save_weights_file(folder: Path) -> None:
    (file,) = (path for path in (folder / "more").iterdir() if path.name != "labels.json")
    with tempfile.TemporaryDirectory() as scratch:
        copy_weights(file, Path(scratch, "weights"))


def _import(mode: str) -> Callable[[Path], object]:
    def run(folder: Path) -> object:
        return import_version(_packed(folder, mode))

    return run


def _packed(folder: Path, mode: str) -> Path:
    file = folder.parent / f"x{'.tar.gz' if mode == 'w:gz' else '.tar'}"
    with tarfile.open(file, mode) as archive:  # type: ignore[call-overload]
        archive.add(folder, ".")
    return file


def _fetch_folder(folder: Path) -> None:
    fetch(f"file://{folder}", name="churn", options=FAST)


def _fetch_tar(folder: Path) -> None:
    fetch(f"file://{_packed(folder, 'w:gz')}", name="churn", options=FAST)


def _fetch_web(folder: Path) -> None:
    with web_server() as site:
        fetch(site.add_folder(folder, "/churn"), name="churn", options=FAST)


DOORS: dict[str, Callable[[Path], object]] = {
    "a training": _save,
    "the weights of a class": _save_weights,
    "the weights of a class in one file": _save_weights_file,
    "an import of a tar": _import("w:"),
    "an import of a compressed tar": _import("w:xz"),
    "file:// of a folder": _fetch_folder,
    "file:// of a tar": _fetch_tar,
    "https:// of a folder": _fetch_web,
}


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
def test_formats_that_may_run_code_are_refused(
    store: Path, tmp_path: Path, door: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_artifact(tmp_path / "origin")
    for file in FORBIDDEN:
        spoil(folder, file)
        with refused(store, file):
            DOORS[door](folder)
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_a_version_that_another_tool_has_put_into_the_store_is_not_usable(store: Path, tmp_path: Path) -> None:
    folder = store / "churn" / "v1"
    shutil.copytree(save_artifact(tmp_path / "origin"), folder)
    assert find("churn").folder == folder
    for file in BY_NAME:
        spoil(folder, file)
        with pytest.raises(ArtifactInvalid, match=rf"{file}' has a format that artifacts may not have; accepted: "):
            read_artifact(folder)


def test_a_fitted_model_is_not_read_from_such_a_file(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`training.save` takes the file of an ONNX model, whatever its name is."""
    for file in FORBIDDEN:
        (tmp_path / file).write_bytes(content_of(file))
        with pytest.raises(TrainingError, match="ONNX Runtime cannot load"):
            save_fitted(tmp_path / file, [[0.0, 1.0]], name="churn")
    assert capsys.readouterr().out == ""
    assert not (store / "churn").exists()

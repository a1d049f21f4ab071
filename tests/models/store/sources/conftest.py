"""An artifact to fetch, an empty store, and a web server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models.store.artifacts import find
from models.store.manifest import MANIFEST_FILE, file_sha256
from models.store.saving import saving
from models.store.sources import download
from models.store.sources.source import SourceOptions
from tests.models.store.sources.web_server import WebServer, web_server
from tests.models.test_card import make_card

# Short waits: a source of a test answers at once, or not at all.
FAST = SourceOptions(timeout_s=2.0)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try a source that fails again at once."""
    monkeypatch.setattr(download, "_WAIT_S", 0.01)


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """The folder of an artifact with 400 kB of weights, as a training saves it."""
    return save_artifact(tmp_path / "origin")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The model store of this machine, which does not exist yet."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "models"


@pytest.fixture
def site() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


def save_artifact(home: Path, *, seed: int = 0) -> Path:
    """Save an artifact in a store of `home`, and return its folder. Another seed gives other weights."""
    with saving(make_card("tiny"), store=home) as folder:
        np.save(folder / "weights.npy", np.random.default_rng(seed).random((50_000,)))
        (folder / "more").mkdir()
        (folder / "more" / "labels.json").write_text('["a", "b"]')
    return find("tiny", store=home).folder


def write_manifest(folder: Path, **changed: list[object]) -> None:
    """Write the manifest of the files in `folder`, with `changed` entries."""
    files: dict[str, list[object]] = {
        path.relative_to(folder).as_posix(): [path.stat().st_size, file_sha256(path)]
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (MANIFEST_FILE, "model.yaml")
    }
    (folder / MANIFEST_FILE).write_text(json.dumps({"files": files | changed}))


def leftovers(store: Path) -> list[str]:
    """List the files of the store and next to it, without the locks of sources."""
    home = store.parent
    paths = (path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file())
    return sorted(path for path in paths if not path.endswith(".lock"))

"""The artifacts of a Bento: versions from its `bento.yaml`, files from its folder or the model store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from models.card import Card, Column, DataSource
from models.errors import ArtifactMissing
from models.store.bento_models import locate, pinned_versions, store_of
from models.store.saving import saving

CARD = Card(
    name="image", task="image-classification", algorithm="none", created=datetime(2026, 1, 1, tzinfo=UTC),
    inputs=(Column("image", "image"),), outputs=(), metrics={}, data=DataSource("none", "0" * 64, 1),
)  # fmt: skip


def save(version: str, store: Path, *, days: int = 0) -> None:
    with saving(replace(CARD, created=CARD.created + timedelta(days=days)), version=version, store=store):
        pass


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a BENTOML_HOME with the versions "old" and "new"."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "home"))
    save("old", tmp_path / "home" / "models")
    save("new", tmp_path / "home" / "models", days=1)
    return tmp_path / "home"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Create the folder `src` of a Bento that was built with version "old"."""
    folder = tmp_path / "bento" / "src"
    folder.mkdir(parents=True)
    (folder.parent / "bento.yaml").write_text("name: makunouchi\nmodels:\n- tag: image:old\n  module: ''\n")
    return folder


@pytest.mark.parametrize("tag", ["image", "image:latest"])
def test_a_bento_serves_what_it_was_built_with_and_the_repository_the_newest(
    tag: str, home: Path, source: Path, tmp_path: Path
) -> None:
    assert locate(tag, code=source).version == "old"
    assert locate(tag, code=tmp_path / "repository").version == "new"


def test_an_explicit_version_takes_precedence(home: Path, source: Path) -> None:
    assert locate("image:new", code=source).version == "new"


def test_a_bento_with_bundled_artifacts_needs_no_store(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "empty"))
    with pytest.raises(ArtifactMissing, match="old"):
        locate("image", code=source)
    save("old", source.parent / "models")
    assert locate("image", code=source).folder == source.parent / "models" / "image" / "old"


def test_outside_a_bento_nothing_is_pinned(home: Path, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "bento.yaml").write_text("name: makunouchi\nmodels:\n")
    assert pinned_versions(tmp_path / "src") == {}
    assert pinned_versions(tmp_path) == {}
    # A folder "models" next to "src" of a repository is not a store without the artifact.
    (tmp_path / "models").mkdir()
    assert store_of("image/old", code=tmp_path / "src") == home / "models"

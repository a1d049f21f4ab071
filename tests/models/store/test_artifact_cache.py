"""A shelf tells what cannot be served before anything is started on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import ArtifactInvalid, ArtifactMissing
from models.store.artifact_cache import ArtifactCache
from models.store.artifacts import Artifact, find, saving
from tests.models.test_card import make_card


@pytest.fixture
def artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    with saving(make_card("tiny"), store=tmp_path / "models") as folder:
        (folder / "weights.bin").write_bytes(b"weights " * 1000)
    return find("tiny", store=tmp_path / "models")


def test_a_whole_artifact_of_the_task_is_served(artifact: Artifact, tmp_path: Path) -> None:
    shelf = ArtifactCache("tiny:latest", source=tmp_path)
    shelf.check("recommendation", artifact.card.task)
    assert shelf.whole(artifact.version) == artifact


def test_another_task_is_told_apart(artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(ArtifactInvalid, match=f"is of task '{artifact.card.task}', not of recommendation"):
        ArtifactCache("tiny", source=tmp_path).check("recommendation")


def test_one_altered_bit_is_noticed(artifact: Artifact, tmp_path: Path) -> None:
    data = bytearray((artifact.folder / "weights.bin").read_bytes())
    data[4000] ^= 1
    (artifact.folder / "weights.bin").write_bytes(data)
    shelf = ArtifactCache("tiny", source=tmp_path)
    assert shelf.find() == artifact
    for look in (shelf.whole, lambda: shelf.check(artifact.card.task)):
        with pytest.raises(ArtifactInvalid, match=r"'weights\.bin' of artifact 'tiny:.*' is not the one"):
            look()


def test_one_that_is_not_there_is_missing(artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissing, match="run: make train"):
        ArtifactCache("other", source=tmp_path).check("recommendation")

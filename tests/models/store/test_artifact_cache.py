"""The cache of artifacts, and its check before serving starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import ArtifactInvalid, ArtifactMissing
from models.store.artifact_cache import ArtifactCache
from models.store.artifacts import Artifact, find
from models.store.saving import saving
from tests.models.test_card import make_card


@pytest.fixture
def artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    with saving(make_card("tiny"), store=tmp_path / "models") as folder:
        (folder / "weights.npy").write_bytes(b"weights " * 1000)
    return find("tiny", store=tmp_path / "models")


def test_an_unaltered_artifact_of_the_task_passes_the_check(artifact: Artifact, tmp_path: Path) -> None:
    cache = ArtifactCache("tiny:latest", code=tmp_path)
    cache.check("recommendation", artifact.card.task)
    assert cache.find_verified(artifact.version) == artifact


def test_an_artifact_of_another_task_is_refused(artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(ArtifactInvalid, match=f"has the task '{artifact.card.task}'; expected: recommendation"):
        ArtifactCache("tiny", code=tmp_path).check("recommendation")


def test_one_altered_bit_is_detected(artifact: Artifact, tmp_path: Path) -> None:
    data = bytearray((artifact.folder / "weights.npy").read_bytes())
    data[4000] ^= 1
    (artifact.folder / "weights.npy").write_bytes(data)
    cache = ArtifactCache("tiny", code=tmp_path)
    assert cache.find() == artifact
    for load in (cache.find_verified, lambda: cache.check(artifact.card.task)):
        with pytest.raises(ArtifactInvalid, match=r"'weights\.npy' of artifact 'tiny:.*' was altered"):
            load()


def test_an_unknown_artifact_is_missing(artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissing, match="run: make train"):
        ArtifactCache("other", code=tmp_path).check("recommendation")

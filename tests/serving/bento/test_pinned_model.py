"""A Bento pins the version that an alias names, and remembers the alias."""

from __future__ import annotations

from pathlib import Path

import bentoml
import pytest

from models.store.aliases import Aliases
from models.store.artifact_cache import ArtifactCache
from serving.bento.pinned_model import pinned_model
from tests.models.store.registry_store import save_version


def test_the_entry_of_a_bento_has_the_version_and_the_alias(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    for version in ("v1", "v2"):
        save_version(tmp_path / "models", version)
    Aliases("churn").promote("champion", "v1", author="anna")
    for tag, alias in (("churn:champion", "champion"), ("churn", ""), ("churn:latest", ""), ("churn:v2", "")):
        cache = ArtifactCache(tag, code=tmp_path)
        assert cache.alias == alias
        assert cache.stored_tag() == ("churn:v1" if alias else "churn:v2")
    store = bentoml._internal.models.ModelStore(tmp_path / "models")
    monkeypatch.setattr(bentoml.models.BentoModel, "stored", property(lambda model: store.get(model.tag)))
    for alias in ("champion", ""):
        info = pinned_model("churn:v1", alias).to_info()
        assert (str(info.tag), info.alias) == ("churn:v1", alias or None)

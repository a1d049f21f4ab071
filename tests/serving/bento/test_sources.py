"""Models from sources: which process fetches them, and what an administrator may load."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from models.errors import ArtifactMissing, SettingsInvalid
from models.store.artifacts import find
from serving.bento.sources import fetch_at_start, fetch_for_change, is_starter
from serving.settings.model_list import ModelEntry
from serving.settings.settings import Settings
from tests.models.store.sources.conftest import save_artifact


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelEntry:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "home"))
    return ModelEntry(name="churn", artifact=f"file://{save_artifact(tmp_path / 'origin')}")


@pytest.mark.parametrize(
    ("arguments", "starts"),
    [
        (["/app/.venv/bin/bentoml", "serve", "service:Gateway"], True),
        (["/lib/bentoml/__main__.py", "build"], True),
        (["/app/serving/process/supervisor.py", "."], True),
        (["/lib/_bentoml_impl/worker/service.py", "--service-name", "Gateway"], False),
        (["/bin/pytest"], False),
        (["-c"], False),
        ([], False),
    ],
)
def test_the_process_that_starts_the_others_fetches(arguments: list[str], starts: bool) -> None:
    assert is_starter(arguments) == starts


def test_models_are_fetched_at_the_start(entry: ModelEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = ModelEntry(name="other", artifact="file:///nowhere")
    local = ModelEntry(name="shop", artifact="shop:latest")
    assert fetch_at_start([entry, other, local], Settings(), code=tmp_path) == {}
    with pytest.raises(ArtifactMissing):
        find("churn")

    monkeypatch.setattr(sys, "argv", ["bentoml", "serve"])
    faults = fetch_at_start([entry, other, local], Settings(), code=tmp_path)
    assert faults == {"other": "there is no 'manifest.json' of source 'file:///nowhere'"}
    assert find("churn").card.name == "churn"


def test_an_administrator_loads_from_permitted_sources_only(entry: ModelEntry, tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="is not below one of MAKUNOUCHI_SOURCE_PREFIXES"):
        fetch_for_change(entry, Settings(), is_configured=False, code=tmp_path)
    with pytest.raises(ArtifactMissing):
        find("churn")
    permitted = Settings(source_prefixes=(entry.artifact.rpartition("/")[0],))
    fetch_for_change(entry, permitted, is_configured=False, code=tmp_path)
    assert find("churn").card.name == "churn"


def test_a_configured_source_needs_no_permission(entry: ModelEntry, tmp_path: Path) -> None:
    fetch_for_change(entry, Settings(), is_configured=True, code=tmp_path)
    assert find("churn").card.name == "churn"


def test_a_configured_model_is_loaded_again_while_its_source_is_away(
    entry: ModelEntry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    permitted = Settings(source_prefixes=(entry.artifact,))
    fetch_for_change(entry, permitted, is_configured=True, code=tmp_path)
    (tmp_path / "origin").rename(tmp_path / "away")
    fetch_for_change(entry, permitted, is_configured=True, code=tmp_path)
    assert "is used, which came from it earlier" in caplog.text
    # What an administrator names has to be there.
    with pytest.raises(ArtifactMissing, match=r"there is no 'manifest\.json' of source"):
        fetch_for_change(entry, permitted, is_configured=False, code=tmp_path)

"""Sources on the Hugging Face Hub, with its client, on a server that speaks the endpoints of the Hub that it uses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from models.errors import ArtifactMissing, SettingsInvalid, SourceUnavailable
from models.store.artifacts import find, verify, versions
from models.store.sources.fetch import fetch
from models.store.sources.resolve import resolve
from models.store.sources.source import SourceOptions
from tests.models.store.forbidden_formats import FORBIDDEN, refused, spoil
from tests.models.store.sources.conftest import FAST, save_artifact
from tests.models.store.sources.web_server import Fault, WebServer

ROOT = Path(__file__).parents[4]
FIRST, SECOND = "a" * 40, "b" * 40


class Hub:
    """The repository `team/churn`, with commits and branches."""

    def __init__(self, site: WebServer) -> None:
        self.site = site
        self.branches = {"main": FIRST}
        site.answers["/api/models/team/churn"] = lambda request: self._info("main")
        for revision in ("main", "v1", FIRST, SECOND):
            site.answers[f"/api/models/team/churn/revision/{revision}"] = (
                lambda request, revision=revision: self._info(revision)  # type: ignore[misc]
            )

    def add(self, folder: Path, commit: str, *, at: str = "") -> None:
        """Add the files of an artifact to a commit. The Hub redirects to a store of large files."""
        self.site.add_folder(folder, f"/lfs/{commit}{at}")
        for path in [path for path in self.site.files if path.startswith(f"/lfs/{commit}{at}/")]:
            file = path.removeprefix(f"/lfs/{commit}/")
            self.site.faults[f"/team/churn/resolve/{commit}/{file}"] = Fault(times=10**6, location=path)

    def _info(self, revision: str) -> tuple[int, bytes]:
        commit = self.branches.get(revision, revision)
        if commit not in (FIRST, SECOND):
            return 404, b'{"error": "Invalid rev id"}'
        return 200, json.dumps({"_id": "1", "id": "team/churn", "modelId": "team/churn", "sha": commit}).encode()


@pytest.fixture
def hub(site: WebServer, store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hub:
    monkeypatch.setattr(constants, "ENDPOINT", site.url)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        site.url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_TOKEN", "hf_s3cret")
    return Hub(site)


def test_an_artifact_in_a_repository(artifact: Path, hub: Hub) -> None:
    hub.add(artifact, FIRST)
    fetched = fetch("hf://team/churn", name="churn", options=FAST)
    verify(fetched)
    ours = [request for request in hub.site.requests if "churn" in request.path or "/lfs/" in request.path]
    assert {request.headers["Authorization"] for request in ours} == {"Bearer hf_s3cret"}
    hub.site.requests.clear()
    assert fetch("hf://team/churn", name="churn", options=FAST) == fetched
    assert hub.site.paths() == ["/api/models/team/churn"]


def test_a_folder_of_a_revision(artifact: Path, hub: Hub) -> None:
    hub.add(artifact, SECOND, at="/models/churn")
    hub.branches["v1"] = SECOND
    verify(fetch("hf://team/churn@v1/models/churn", name="churn", options=FAST))
    assert all(SECOND in path for path in hub.site.paths()[1:])


def test_a_branch_that_moves_is_noticed(artifact: Path, hub: Hub, tmp_path: Path) -> None:
    hub.add(artifact, FIRST)
    hub.add(save_artifact(tmp_path / "next", seed=1), SECOND)
    first = fetch("hf://team/churn", name="churn", options=FAST)
    hub.branches["main"] = SECOND
    second = fetch("hf://team/churn", name="churn", options=FAST)
    assert second.version != first.version
    # A commit says exactly which.
    assert fetch(f"hf://team/churn@{FIRST}", name="churn", options=FAST) == first


def test_an_interrupted_fetch_is_continued(artifact: Path, hub: Hub) -> None:
    hub.add(artifact, FIRST)
    hub.site.faults[f"/lfs/{FIRST}/weights.npy"] = Fault(end_after=100_000)
    verify(fetch("hf://team/churn", name="churn", options=FAST))
    assert [request.start for request in hub.site.of(f"/lfs/{FIRST}/weights.npy")] == [0, 100_000]


@pytest.mark.parametrize("source", ["hf://team/other", "hf://team/churn@v1"])
def test_a_repository_or_revision_that_is_not_there(hub: Hub, source: str) -> None:
    hub.site.answers["/api/models/team/other"] = lambda request: (404, b"{}")
    with pytest.raises((ArtifactMissing, SourceUnavailable), match=f"'{source}'"):
        fetch(source, name="churn", options=FAST)


def test_a_hub_that_is_away_leaves_the_version_that_came_from_it(
    artifact: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(artifact, FIRST)
    version = resolve("hf://team/churn", name="churn", options=FAST)
    hub.site.answers["/api/models/team/churn"] = lambda request: (503, b"{}")
    once = SourceOptions(timeout_s=1, attempts=1)
    assert resolve("hf://team/churn", name="churn", options=once) == version
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(SourceUnavailable):
        fetch("hf://team/churn", name="churn", options=once)
    assert resolve("hf://team/churn", name="churn", options=once) == version


def test_the_token_is_in_no_log_and_no_error(artifact: Path, hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    hub.add(artifact, FIRST)
    hub.site.faults[f"/lfs/{FIRST}/weights.npy"] = Fault(times=9, status=403)
    with pytest.raises(SourceUnavailable) as caught:
        fetch("hf://team/churn", name="churn", options=FAST)
    assert "s3cret" not in caplog.text + str(caught.value)


@pytest.mark.slow
def test_the_command_reads_another_endpoint_from_the_environment(artifact: Path, hub: Hub, store: Path) -> None:
    hub.add(artifact, FIRST)
    command = [sys.executable, "-m", "models.store", "fetch", "hf://team/churn@main", "--name", "churn"]
    environment = os.environ | {"HF_ENDPOINT": hub.site.url}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{find('churn', store=store).tag}\n"


@pytest.mark.parametrize("source", ["hf://", "hf://churn", "hf://team//x", "hf://team/ch urn", "hf://team/../x"])
def test_a_malformed_source_is_named(store: Path, source: str) -> None:
    with pytest.raises((SettingsInvalid, ArtifactMissing), match="hf://"):
        fetch(source, name="churn", options=FAST)
    assert versions("churn", store=store) == []


def test_a_missing_client_names_the_command(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(SettingsInvalid, match="needs the package huggingface-hub; run: pip install huggingface-hub"):
        fetch("hf://team/churn", name="churn", options=FAST)


def test_formats_that_may_run_code_are_refused(artifact: Path, store: Path, hub: Hub) -> None:
    for file in FORBIDDEN:
        spoil(artifact, file)
        hub.add(artifact, FIRST)
        with refused(store, file):
            fetch("hf://team/churn", name="churn", options=FAST)

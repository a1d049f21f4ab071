"""The local version of a source that can be read, and of one that cannot."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from models.errors import ArtifactMissing, SettingsInvalid, SourceUnavailable
from models.store.artifact_cache import ArtifactCache
from models.store.sources.fetch import fetch
from models.store.sources.records import last_version
from models.store.sources.resolve import resolve
from models.store.sources.schemes import is_permitted
from models.store.sources.source import SourceOptions, is_source
from tests.models.store.sources.conftest import FAST, save_artifact
from tests.models.store.sources.web_server import Fault, WebServer

ONCE = SourceOptions(timeout_s=1, attempts=1)


@pytest.mark.parametrize("text", ["s3://b/p", "https://h/p", "models:/churn@champion", "gs://b/p", "file:///x"])
def test_a_source_is_recognized(text: str) -> None:
    assert is_source(text)


@pytest.mark.parametrize("text", ["churn", "churn:latest", "churn:champion", "models", "models:latest", ""])
def test_a_tag_is_no_source(text: str) -> None:
    assert not is_source(text)


@pytest.mark.parametrize("source", ["gs://bucket/churn", "azure://x/y", "://x", "s4://bucket"])
def test_an_unknown_scheme_lists_the_known_ones(store: Path, source: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"unknown scheme '.*' of a source; known: s3://, https://"):
        resolve(source, name="churn")


@pytest.mark.parametrize("source", ["s3://bucket/" + "x" * 3000, "s3://a\nb", "s3://a/\x1b[2J"])
def test_a_source_is_short_and_printable(store: Path, source: str) -> None:
    with pytest.raises(SettingsInvalid, match="at most 2048 printable characters"):
        resolve(source, name="churn")


def test_a_source_that_is_away_stops_only_a_service_without_a_version(
    artifact: Path, store: Path, site: WebServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = site.add_folder(artifact, "/churn")
    site.faults["/churn/manifest.json"] = Fault(times=1, status=503)
    with pytest.raises(SourceUnavailable, match="answers with status 503"):
        resolve(url, name="churn", options=ONCE)

    version = resolve(url, name="churn", options=ONCE)
    for fault in (Fault(times=9, status=503), Fault(times=9, status=404), Fault(times=9, end_after=5)):
        caplog.clear()
        site.faults["/churn/manifest.json"] = fault
        assert resolve(url, name="churn", options=ONCE) == version
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert f"churn:{version} is used, which came from it earlier" in caplog.text


def test_content_that_is_refused_leaves_the_version_before_it(
    artifact: Path, store: Path, site: WebServer, tmp_path: Path
) -> None:
    url = site.add_folder(artifact, "/churn")
    version = resolve(url, name="churn", options=FAST)
    site.add_folder(save_artifact(tmp_path / "next", seed=1), "/churn")
    site.files["/churn/weights.npy"] = b"x" * len(site.files["/churn/weights.npy"])
    assert resolve(url, name="churn", options=FAST) == version


def test_a_version_of_another_source_is_not_used(artifact: Path, store: Path) -> None:
    resolve(f"file://{artifact}", name="churn", options=FAST)
    with pytest.raises(ArtifactMissing):
        resolve("file:///nowhere", name="churn", options=FAST)
    with pytest.raises(ArtifactMissing, match=r"run: python -m models\.store fetch file:///nowhere --name churn"):
        last_version("file:///nowhere", name="churn")


def test_the_newest_version_that_is_still_there_is_used(tmp_path: Path, store: Path, site: WebServer) -> None:
    url = site.url + "/churn"
    fetched = []
    for seed in range(3):
        site.add_folder(save_artifact(tmp_path / str(seed), seed=seed), "/churn")
        fetched.append(fetch(url, name="churn", options=FAST))
    shutil.rmtree(fetched[2].folder)
    assert last_version(url, name="churn") == fetched[1].version


def test_the_cache_of_artifacts_follows_what_was_fetched(tmp_path: Path, store: Path, site: WebServer) -> None:
    url = site.add_folder(save_artifact(tmp_path / "one", seed=1), "/churn")
    cache = ArtifactCache(url, code=tmp_path, served_as="churn")
    with pytest.raises(ArtifactMissing, match="no version of 'churn' came from source"):
        cache.find()
    first = fetch(url, name="churn", options=FAST)
    assert cache.find() == first
    site.add_folder(save_artifact(tmp_path / "two", seed=2), "/churn")
    second = fetch(url, name="churn", options=FAST)
    assert cache.find() == second
    assert cache.find(first.version) == first
    assert cache.find_verified() == second
    assert (cache.stored_tag(), cache.alias) == (second.tag, url)
    assert {artifact.version for artifact in cache.versions()} == {first.version, second.version}


@pytest.fixture
def bento(artifact: Path, store: Path, tmp_path: Path, site: WebServer) -> Path:
    """The code of a Bento that was built with the version from `/churn`, which the store has no longer."""
    url = site.add_folder(artifact, "/churn")
    fetched = fetch(f"{url}?sig=s3cret", name="churn", options=FAST)
    cache = ArtifactCache(f"{url}?sig=s3cret", code=tmp_path, served_as="churn")
    code = tmp_path / "bento" / "src"
    code.mkdir(parents=True)
    # As `bentoml build` writes what `serving.bento.pinned_model` pins.
    pinned = f"  - tag: {cache.stored_tag()}\n    alias: {cache.alias}\n"
    assert "s3cret" not in pinned
    (code.parent / "bento.yaml").write_text(f"services:\n- models:\n{pinned}")
    shutil.move(fetched.folder.parent, code.parent / "models" / "churn")
    shutil.rmtree(store.parent / ".sources")
    return code


def test_a_bento_serves_the_version_that_it_was_built_with(bento: Path, site: WebServer, tmp_path: Path) -> None:
    url = f"{site.url}/churn"
    site.requests.clear()
    version = resolve(url, name="churn", code=bento)
    assert ArtifactCache(url, code=bento, served_as="churn").find().version == version
    assert site.requests == []

    # Also where the store of the host has another one, unless the source is watched.
    site.add_folder(save_artifact(tmp_path / "next", seed=1), "/churn")
    second = fetch(url, name="churn", options=FAST).version
    assert resolve(url, name="churn", code=bento) == version
    for is_watched, expected in ((False, version), (True, second)):
        cache = ArtifactCache(url, code=bento, served_as="churn", is_watched=is_watched)
        assert cache.find().version == expected


def test_a_bento_has_no_version_of_another_source(bento: Path, site: WebServer, tmp_path: Path) -> None:
    """A model that was given another source at run time is not taken for the one that the Bento has of this name."""
    url = site.add_folder(save_artifact(tmp_path / "next", seed=1), "/other")
    cache = ArtifactCache(url, code=bento, served_as="churn")
    with pytest.raises(ArtifactMissing, match="no version of 'churn' came from source"):
        cache.find()
    assert resolve(url, name="churn", code=bento, options=FAST) == cache.find().version


@pytest.mark.parametrize(
    ("text", "prefixes", "is_in"),
    [
        ("s3://models/churn", ("s3://models/",), True),
        ("s3://models/churn", ("s3://models",), True),
        ("s3://models", ("s3://models/",), True),
        ("s3://models-of-others/churn", ("s3://models",), False),
        ("s3://models/../others/churn", ("s3://models",), False),
        ("https://host/a/%2e%2e/b", ("https://host/a",), False),
        ("https://host/a\\..\\b", ("https://host/a",), False),
        ("https://host.evil.example/a", ("https://host",), False),
        ("https://anna@host/a", ("https://host",), False),
        ("https://host/a?sig=1", ("https://host/a",), True),
        ("file:///models/churn", ("file:///models",), True),
        ("hf://team/churn@main", ("hf://team",), True),
        ("models:/churn@champion", ("models:/",), True),
        ("models:/churn@champion", (), False),
        ("s3://models/churn", ("",), False),
    ],
)
def test_sources_below_a_prefix_are_permitted(text: str, prefixes: tuple[str, ...], is_in: bool) -> None:
    assert is_permitted(text, prefixes) == is_in

"""A fetched artifact is complete and verified, or nothing is saved."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest

from models.errors import ArtifactInvalid, ArtifactMissing, SourceUnavailable, StoreUnavailable
from models.store.archive import export_version, import_version
from models.store.artifacts import find, verify, versions
from models.store.manifest import MANIFEST_FILE, file_sha256
from models.store.sources import fetch as fetch_module
from models.store.sources.fetch import fetch
from models.store.sources.source import SourceOptions
from tests.models.store.sources.conftest import FAST, leftovers, save_artifact, write_manifest
from tests.models.store.sources.web_server import Fault, WebServer

ROOT = Path(__file__).parents[4]


def test_a_fetched_artifact_is_a_version_like_any_other(artifact: Path, store: Path) -> None:
    fetched = fetch(f"file://{artifact}", name="churn", options=FAST)

    assert fetched == find("churn", store=store) == find(f"churn:{fetched.version}", store=store)
    assert fetched.version == file_sha256(artifact / MANIFEST_FILE)[:16]
    assert fetched.card.name == "churn"
    verify(fetched)
    for file in ("card.json", "manifest.json", "weights.npy", "more/labels.json"):
        assert (fetched.folder / file).read_bytes() == (artifact / file).read_bytes()


@pytest.mark.slow
def test_bentoml_lists_a_fetched_artifact(artifact: Path, store: Path) -> None:
    fetched = fetch(f"file://{artifact}", name="churn", options=FAST)
    code = "import bentoml; print(bentoml.models.get('churn').tag, [str(m.tag) for m in bentoml.models.list()])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == f"{fetched.tag} ['{fetched.tag}']"
    assert store.is_dir()


def test_nothing_is_transferred_twice(artifact: Path, store: Path, site: WebServer) -> None:
    url = site.add_folder(artifact, "/churn")
    first = fetch(url, name="churn", options=FAST)
    site.requests.clear()
    assert fetch(url, name="churn", options=FAST) == first
    assert site.paths() == ["/churn/manifest.json"]
    assert versions("churn", store=store) == [first]


def test_an_artifact_that_was_trained_here_is_not_transferred(tmp_path: Path, store: Path, site: WebServer) -> None:
    trained = save_artifact(store)
    url = site.add_folder(trained, "/tiny")
    assert fetch(url, name="tiny", options=FAST).version == trained.name
    assert site.paths() == ["/tiny/manifest.json"]


def test_latest_is_moved_for_the_first_version_and_on_request(tmp_path: Path, store: Path) -> None:
    sources = [f"file://{save_artifact(tmp_path / str(seed), seed=seed)}" for seed in range(3)]
    first = fetch(sources[0], name="churn", options=FAST)
    fetch(sources[1], name="churn", options=FAST)
    assert (store / "churn" / "latest").read_text() == first.version
    third = fetch(sources[2], name="churn", options=FAST, is_promoted=True)
    assert (store / "churn" / "latest").read_text() == third.version == find("churn", store=store).version


def test_a_wrong_hash_is_refused_and_leaves_nothing(artifact: Path, store: Path) -> None:
    _alter(artifact / "weights.npy")
    with pytest.raises(ArtifactInvalid, match=r"'weights\.npy' of source '.*' has another SHA-256 than its manifest"):
        fetch(f"file://{artifact}", name="churn", options=FAST)
    assert versions("churn", store=store) == []
    assert not any("weights" in file for file in leftovers(store))


def test_a_file_of_another_size_is_refused_before_it_is_read(artifact: Path, store: Path, site: WebServer) -> None:
    url = site.add_folder(artifact, "/churn")
    site.files["/churn/weights.npy"] += b"more"
    with pytest.raises(ArtifactInvalid, match=r"has 400132 bytes; its manifest says 400128"):
        fetch(url, name="churn", options=FAST)
    assert versions("churn", store=store) == []


def test_a_missing_file_is_named(artifact: Path, store: Path, site: WebServer) -> None:
    url = site.add_folder(artifact, "/churn")
    del site.files["/churn/weights.npy"]
    with pytest.raises(ArtifactMissing, match=r"no 'weights\.npy' of source"):
        fetch(url, name="churn", options=FAST)
    assert versions("churn", store=store) == []


def test_a_folder_without_a_manifest_is_no_artifact(tmp_path: Path, store: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactMissing, match=r"no 'manifest\.json' of source"):
        fetch(f"file://{tmp_path}/empty", name="churn", options=FAST)


def test_a_card_that_cannot_be_read_is_refused(artifact: Path, store: Path) -> None:
    (artifact / "card.json").write_text("{}")
    write_manifest(artifact)
    with pytest.raises(ArtifactInvalid, match=r"is refused: card\.json .* is malformed"):
        fetch(f"file://{artifact}", name="churn", options=FAST)
    assert versions("churn", store=store) == []


def test_more_bytes_than_permitted_are_refused(artifact: Path, store: Path, site: WebServer) -> None:
    url = site.add_folder(artifact, "/churn")
    with pytest.raises(ArtifactInvalid, match=r"the maximum is 100000"):
        fetch(url, name="churn", options=SourceOptions(max_bytes=100_000))
    assert site.paths() == ["/churn/manifest.json"]


def test_a_disk_without_enough_space_is_noticed_first(
    artifact: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(artifact)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(StoreUnavailable, match=r"needs \d+ bytes, and the disk of the model store has 1000 free"):
        fetch(f"file://{artifact}", name="churn", options=FAST)


def test_a_store_that_cannot_be_written_is_named(artifact: Path, store: Path) -> None:
    store.parent.parent.joinpath("home").write_text("a file")
    with pytest.raises(StoreUnavailable, match="cannot be saved in the model store"):
        fetch(f"file://{artifact}", name="churn", options=FAST)


def test_an_interrupted_fetch_is_continued_where_it_ended(artifact: Path, store: Path, site: WebServer) -> None:
    url = site.add_folder(artifact, "/churn")
    site.faults["/churn/weights.npy"] = Fault(times=9, end_after=100_000)
    with pytest.raises(SourceUnavailable, match=r"'weights\.npy'"):
        fetch(url, name="churn", options=SourceOptions(timeout_s=2, attempts=1))
    assert versions("churn", store=store) == []
    site.faults.clear()
    site.requests.clear()

    fetched = fetch(url, name="churn", options=FAST)
    assert [request.start for request in site.of("/churn/weights.npy")] == [100_000]
    # What was complete is not read again.
    assert site.of("/churn/card.json") == []
    verify(fetched)
    assert not [file for file in leftovers(store) if file.startswith(".sources/") and not file.endswith(".json")]


def test_a_connection_that_breaks_again_and_again_is_continued_in_one_fetch(
    artifact: Path, store: Path, site: WebServer
) -> None:
    url = site.add_folder(artifact, "/churn")
    site.faults["/churn/weights.npy"] = Fault(times=4, end_after=90_000)
    verify(fetch(url, name="churn", options=FAST))
    assert [request.start for request in site.of("/churn/weights.npy")] == [0, 90_000, 180_000, 270_000, 360_000]


def test_a_server_without_ranges_sends_the_file_again(artifact: Path, store: Path, site: WebServer) -> None:
    site.has_ranges = False
    url = site.add_folder(artifact, "/churn")
    site.faults["/churn/weights.npy"] = Fault(end_after=90_000)
    verify(fetch(url, name="churn", options=FAST))
    assert len(site.of("/churn/weights.npy")) == 2


def test_partial_bytes_of_other_content_are_read_again(artifact: Path, store: Path, site: WebServer) -> None:
    url = site.add_folder(artifact, "/churn")
    site.faults["/churn/weights.npy"] = Fault(times=9, end_after=100_000)
    with pytest.raises(SourceUnavailable):
        fetch(url, name="churn", options=SourceOptions(timeout_s=2, attempts=1))
    (partial,) = (store.parent / ".sources").rglob("weights.npy")
    partial.write_bytes(b"x" * 100_000)
    site.faults.clear()
    verify(fetch(url, name="churn", options=FAST))


@pytest.mark.slow
def test_a_killed_fetch_is_continued_by_the_next_process(artifact: Path, store: Path, site: WebServer) -> None:
    url = site.add_folder(artifact, "/churn")
    # It sends a part, and then nothing more until the process is killed.
    site.faults["/churn/weights.npy"] = Fault(end_after=200_000, stalls=True)
    command = [sys.executable, "-m", "models.store", "fetch", url, "--name", "churn"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while _partial_bytes(store) < 200_000 and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    process.wait(10)
    assert versions("churn", store=store) == []
    site.requests.clear()

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"churn:{file_sha256(artifact / MANIFEST_FILE)[:16]}\n"
    assert [request.start for request in site.of("/churn/weights.npy")] == [200_000]
    verify(find("churn", store=store))


def _alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)


def _partial_bytes(store: Path) -> int:
    return sum(path.stat().st_size for path in (store.parent / ".sources").rglob("weights.npy"))


def _wait(condition: object) -> None:
    until = time.monotonic() + 30
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.005)


def test_threads_that_fetch_at_once_transfer_once(artifact: Path, store: Path, site: WebServer) -> None:
    url = site.add_folder(artifact, "/churn")
    fetched = []
    threads = [
        threading.Thread(target=lambda: fetched.append(fetch(url, name="churn", options=FAST))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) == 4
    assert {each.version for each in fetched} == {file_sha256(artifact / MANIFEST_FILE)[:16]}
    assert len(site.of("/churn/weights.npy")) == 1


def test_a_host_that_published_the_same_first_is_no_error(
    artifact: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = fetch(f"file://{artifact}", name="churn", store=tmp_path / "other" / "models", options=FAST)

    def published_by_another_host(*args: object, **options: object) -> None:
        shutil.copytree(other.folder, store / "churn" / other.version)
        raise OSError(errno.ENOTEMPTY, "not empty")

    monkeypatch.setattr(fetch_module, "publish", published_by_another_host)
    assert fetch(f"file://{artifact}", name="churn", options=FAST) == find("churn", store=store)


@pytest.mark.parametrize("mode", ["w:", "w:gz"])
@pytest.mark.parametrize("inner", ["", "tiny-1"])
def test_a_tar_of_an_artifact_is_unpacked(artifact: Path, store: Path, site: WebServer, mode: str, inner: str) -> None:
    suffix = ".tar" if mode == "w:" else ".tar.gz"
    path = artifact.parent / f"churn{suffix}"
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        archive.add(artifact, arcname=inner or ".")
    site.files[f"/churn{suffix}"] = path.read_bytes()

    fetched = fetch(f"{site.url}/churn{suffix}", name="churn", options=FAST)
    assert fetched.version == file_sha256(artifact / MANIFEST_FILE)[:16]
    verify(fetched)
    site.requests.clear()
    assert fetch(f"{site.url}/churn{suffix}", name="churn", options=FAST) == fetched
    assert site.paths() == []
    assert site.paths(method="HEAD") == [f"/churn{suffix}"]


def test_a_tar_is_continued(artifact: Path, store: Path, site: WebServer) -> None:
    path = artifact.parent / "churn.tar"
    with tarfile.open(path, "w:") as archive:
        archive.add(artifact, arcname=".")
    site.files["/churn.tar"] = path.read_bytes()
    site.faults["/churn.tar"] = Fault(times=2, end_after=100_000)  # one of them is the HEAD, which has no body
    with pytest.raises(SourceUnavailable):
        fetch(f"{site.url}/churn.tar", name="churn", options=SourceOptions(timeout_s=2, attempts=1))
    site.requests.clear()
    verify(fetch(f"{site.url}/churn.tar", name="churn", options=FAST))
    assert [(request.method, request.start) for request in site.requests] == [("HEAD", 0), ("GET", 100_000)]


def test_a_tar_with_a_wrong_hash_is_refused(artifact: Path, store: Path) -> None:
    _alter(artifact / "weights.npy")
    path = artifact.parent / "churn.tar"
    with tarfile.open(path, "w:") as archive:
        archive.add(artifact, arcname=".")
    with pytest.raises(ArtifactInvalid, match=r"'weights\.npy' of artifact .* was altered"):
        fetch(f"file://{path}", name="churn", options=FAST)
    assert versions("churn", store=store) == []
    assert not any("weights" in file for file in leftovers(store))


@pytest.mark.parametrize(("link", "file"), [("weights.npy", "weights.npy"), ("more", "more/labels.json")])
def test_a_link_in_a_folder_is_not_followed(artifact: Path, store: Path, tmp_path: Path, link: str, file: str) -> None:
    (artifact / link).rename(tmp_path / "elsewhere")
    (artifact / link).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactInvalid, match=rf"'{file}' of source '.*' is a link"):
        fetch(f"file://{artifact}", name="churn", options=FAST)


def test_a_pipe_in_a_folder_is_not_read(artifact: Path, store: Path) -> None:
    (artifact / "weights.npy").unlink()
    os.mkfifo(artifact / "weights.npy")
    with pytest.raises(ArtifactInvalid, match=r"'weights\.npy' of source '.*' is not a regular file"):
        fetch(f"file://{artifact}", name="churn", options=FAST)


def test_partial_files_of_an_earlier_content_are_removed(tmp_path: Path, store: Path, site: WebServer) -> None:
    url = site.add_folder(save_artifact(tmp_path / "one", seed=1), "/churn")
    site.faults["/churn/weights.npy"] = Fault(times=9, end_after=100_000)
    with pytest.raises(SourceUnavailable):
        fetch(url, name="churn", options=SourceOptions(timeout_s=2, attempts=1))
    site.faults.clear()
    site.add_folder(save_artifact(tmp_path / "two", seed=2), "/churn")
    verify(fetch(url, name="churn", options=FAST))
    assert [request.start for request in site.of("/churn/weights.npy")] == [0, 0]
    records = [file for file in leftovers(store) if file.startswith(".sources/")]
    assert len(records) == 1
    assert json.loads((store.parent / records[0]).read_text())["name"] == "churn"


def test_a_fetched_artifact_is_exported_and_imported(artifact: Path, store: Path, tmp_path: Path) -> None:
    fetched = fetch(f"file://{artifact}", name="churn", options=FAST)
    export_version(fetched.tag, tmp_path / "churn.tar.gz")
    imported = import_version(tmp_path / "churn.tar.gz", store=tmp_path / "other" / "models")
    assert (imported.tag, imported.card) == (fetched.tag, fetched.card)
    # What `export` writes is a source too.
    again = fetch(f"file://{tmp_path}/churn.tar.gz", name="churn", options=FAST)
    assert again == fetched

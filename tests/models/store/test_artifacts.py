"""Artifacts are saved atomically: complete or not at all."""

from __future__ import annotations

import builtins
import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from models.card import CARD_FILE
from models.errors import ArtifactInvalid, ArtifactMissing
from models.store import saving as saving_module
from models.store.artifacts import Artifact, default_store, find, verify, versions
from models.store.manifest import MANIFEST_FILE, file_sha256
from models.store.saving import saving
from tests.models.test_card import make_card

ROOT = Path(__file__).parent.parent.parent.parent
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "home" / "models"


def save(store: Path, *, name: str = "tiny", version: str | None = None, age_days: int = 0) -> Artifact:
    with saving(make_card(name, created=START - timedelta(days=age_days)), version=version, store=store) as folder:
        (folder / "weights.npy").write_bytes(b"weights " * 1000)
        (folder / "more").mkdir()
        (folder / "more" / "labels.json").write_text('["a"]')
    return find(name if version is None else f"{name}:{version}", store=store)


def contents(store: Path) -> list[str]:
    """List every path in and next to the store, including leftovers."""
    return sorted(path.relative_to(store.parent).as_posix() for path in store.parent.rglob("*"))


def test_a_saved_artifact_is_found_with_its_files_and_card(store: Path) -> None:
    artifact = save(store)
    assert artifact == find("tiny:latest", store=store) == find(f"tiny:{artifact.version}", store=store)
    assert artifact.card == make_card(created=START)
    assert artifact.tag == f"tiny:{artifact.version}"
    assert (artifact.folder / "weights.npy").read_bytes() == b"weights " * 1000
    assert (artifact.folder / "more" / "labels.json").read_text() == '["a"]'
    verify(artifact)


def test_no_staging_folder_remains(store: Path) -> None:
    save(store)
    assert [path.name for path in store.parent.iterdir()] == ["models"]


def test_every_file_can_be_read_by_the_service_that_runs_as_another_user(store: Path) -> None:
    # Code of the service that a test ran before in this process may have restricted new files.
    mask = os.umask(0o022)
    try:
        artifact = save(store)
    finally:
        os.umask(mask)
    for path in (artifact.folder, *artifact.folder.rglob("*")):
        assert path.stat().st_mode & (0o005 if path.is_dir() else 0o004)


def test_bentoml_sees_the_same_artifact(store: Path) -> None:
    saved = [save(store, version=version, age_days=-number) for number, version in enumerate(("v1", "v2"))]
    code = (
        "import bentoml, json\n"
        "print(json.dumps([bentoml.models.get(tag).path for tag in ('tiny', 'tiny:latest', 'tiny:v1')]"
        " + sorted(str(model.tag) for model in bentoml.models.list())))"
    )
    environment = os.environ | {"BENTOML_HOME": str(store.parent)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    first, second = (str(artifact.folder) for artifact in saved)
    assert json.loads(run.stdout.splitlines()[-1]) == [second, second, first, "tiny:v1", "tiny:v2"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, SystemExit, ValueError, OSError, GeneratorExit])
def test_an_exception_while_files_are_written_leaves_the_store_unchanged(
    store: Path, failure: type[BaseException]
) -> None:
    save(store, version="v1")
    before = contents(store)
    with pytest.raises(failure), saving(make_card(), store=store) as folder:  # noqa: PT012  (the block is what fails)
        (folder / "weights.npy").write_bytes(b"half")
        raise failure
    assert contents(store) == before
    assert find("tiny", store=store).version == "v1"


def _disk_full(*_: object, **__: object) -> Any:  # Any: replaces several functions
    raise OSError(errno.ENOSPC, "No space left on device")


STEPS: dict[str, tuple[object, str]] = {
    "the card": (saving_module, "write_card"),
    "the manifest": (saving_module, "write_manifest"),
    "the copy into the store": (shutil, "copytree"),
    "reading the staged artifact": (saving_module, "read_artifact"),
    "publishing it": (os, "rename"),
    "updating latest": (os, "replace"),
    "syncing it to the disk": (os, "fsync"),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("failure", [_disk_full, KeyboardInterrupt])
def test_a_failure_at_any_step_leaves_nothing_to_serve(
    store: Path, monkeypatch: pytest.MonkeyPatch, step: str, failure: Callable[..., Any] | type[BaseException]
) -> None:
    save(store, version="v1")
    before = contents(store)

    def fail(*arguments: object, **options: object) -> Any:
        if isinstance(failure, type):
            raise failure
        return failure(*arguments, **options)

    monkeypatch.setattr(*STEPS[step], fail)
    with pytest.raises((OSError, KeyboardInterrupt)), saving(make_card(), store=store) as folder:
        (folder / "weights.npy").write_bytes(b"weights")
    monkeypatch.undo()
    assert contents(store) == before


def _write_three_files(folder: Path) -> None:
    for number in range(3):
        (folder / f"{number}.npy").write_bytes(b"weights")


@pytest.mark.parametrize("step", STEPS)
def test_a_failed_first_save_leaves_no_empty_folder(store: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    monkeypatch.setattr(*STEPS[step], _disk_full)
    with pytest.raises(OSError, match="No space left"), saving(make_card(), store=store) as folder:
        _write_three_files(folder)
    monkeypatch.undo()
    assert contents(store) == ["models"]


def test_a_disk_that_fills_up_in_the_middle_of_a_file_leaves_nothing(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(store, version="v1")
    before = contents(store)
    real, written = builtins.open, []

    def limited(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if "w" in mode and ".staging-" in str(file):
            written.append(file)
            if len(written) > 1:
                _disk_full()
        return real(file, mode, *arguments, **options)

    monkeypatch.setattr(builtins, "open", limited)
    with pytest.raises(OSError, match="No space left"), saving(make_card(), store=store) as folder:
        _write_three_files(folder)
    monkeypatch.undo()
    assert written
    assert contents(store) == before


def test_a_running_save_is_not_cleared_by_another(store: Path) -> None:
    with saving(make_card("slow"), store=store) as folder:
        save(store)
        (folder / "weights.npy").write_bytes(b"weights")
    assert find("slow", store=store)


def test_an_altered_file_is_found_by_verify(store: Path) -> None:
    artifact = save(store)
    path = artifact.folder / "weights.npy"
    path.write_bytes(b"Weights " + path.read_bytes()[8:])
    assert find("tiny", store=store)
    with pytest.raises(ArtifactInvalid, match=r"'weights\.npy' of artifact 'tiny:\w+' was altered"):
        verify(artifact)


def test_a_file_that_vanishes_is_found_by_verify(store: Path) -> None:
    artifact = save(store)
    (artifact.folder / "weights.npy").unlink()
    with pytest.raises(ArtifactInvalid, match=r"'weights\.npy'"):
        verify(artifact)


@pytest.mark.parametrize("file", ["weights.npy", "more/labels.json", CARD_FILE, MANIFEST_FILE])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_artifact_is_refused_by_its_version_and_skipped_by_latest(
    store: Path, file: str, damage: str
) -> None:
    save(store, version="v1", age_days=1)
    path = save(store, version="v2").folder / file
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ArtifactInvalid, match="tiny:v2"):
        find("tiny:v2", store=store)
    assert find("tiny", store=store).version == "v1"
    assert [artifact.version for artifact in versions("tiny", store=store)] == ["v1"]


def test_versions_are_listed_newest_first(store: Path) -> None:
    for version, age_days in (("b", 3), ("c", 1), ("a", 2)):
        save(store, version=version, age_days=age_days)
    assert [artifact.version for artifact in versions("tiny", store=store)] == ["c", "a", "b"]


def test_latest_is_the_version_that_was_promoted_last(store: Path) -> None:
    save(store, version="good", age_days=2)
    with saving(make_card("tiny", created=START), version="worse", store=store, is_promoted=False):
        pass
    assert find("tiny:latest", store=store).version == "good"
    assert find("tiny:worse", store=store).version == "worse"
    save(store, version="better")
    assert find("tiny", store=store).version == "better"


def test_latest_is_the_newest_usable_version_without_a_pointer(store: Path) -> None:
    save(store, version="a", age_days=2)
    save(store, version="b", age_days=1)
    (store / "tiny" / "latest").unlink()
    assert find("tiny", store=store).version == "b"


def test_saving_a_version_that_exists_changes_nothing(store: Path) -> None:
    artifact = save(store, version="v1")
    with pytest.raises(Exception, match="v1"):
        save(store, version="v1")
    verify(artifact)


@pytest.mark.parametrize("name", ["Shop", "my model", "../x", "", "-x", "x" * 64])
def test_an_invalid_name_is_refused(store: Path, name: str) -> None:
    with pytest.raises(ArtifactInvalid, match="is not a valid artifact name"):
        save(store, name=name)
    assert not store.exists()


def test_a_missing_artifact_names_the_command_that_trains_it(store: Path) -> None:
    with pytest.raises(ArtifactMissing, match=r"no artifact 'tabular' in the model store; run: make train$"):
        find("tabular", store=store)
    for name in ("image", "churn"):
        (store / name).mkdir(parents=True)
    with pytest.raises(ArtifactMissing, match=r"no artifact 'tabluar' .*; the store has: churn, image$"):
        find("tabluar", store=store)


def test_an_unknown_version_lists_the_known_ones(store: Path) -> None:
    save(store, version="v1", age_days=1)
    save(store, version="v2")
    with pytest.raises(ArtifactMissing, match="no version 'v3' of artifact 'tiny' in the model store; known: v2, v1"):
        find("tiny:v3", store=store)
    with pytest.raises(ArtifactMissing, match="known: none"):
        find("other:v3", store=store)


@pytest.mark.parametrize(
    "tag", ["../tiny:v1", "tiny:../tiny/v1", "tiny:..", "tiny:.", "..:v1", ".:tiny", "/etc:passwd", "tiny:v1/more",
            "tiny\\:v1", "tiny:v1\0", "", ":", ":v1", "tiny:v1:v1"],
)  # fmt: skip
def test_a_tag_reaches_nothing_but_artifacts(store: Path, tag: str) -> None:
    save(store, version="v1")
    with pytest.raises(ArtifactMissing):
        find(tag, store=store)


def test_the_store_is_bentomls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path))
    assert default_store() == tmp_path / "models"
    monkeypatch.delenv("BENTOML_HOME")
    assert default_store() == Path.home() / "bentoml" / "models"


def test_the_hash_is_the_one_that_other_tools_compute(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

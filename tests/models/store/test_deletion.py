"""A version that is served or named is not deleted; another one is deleted as a whole."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path

import pytest

from models.errors import ArtifactInUse, ArtifactMissing, StoreUnavailable
from models.store.aliases import CHAMPION, Aliases
from models.store.artifact_cache import ArtifactCache
from models.store.artifacts import find, versions
from models.store.deletion import delete
from models.store.usage import is_loaded
from tests.models.store.registry_store import save_version

ROOT = Path(__file__).parent.parent.parent.parent


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with the versions v1, v2 and v3; v3 is latest."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "home"))
    store = tmp_path / "home" / "models"
    for version in ("v1", "v2", "v3"):
        save_version(store, version)
    return store


def present(store: Path) -> list[str]:
    return [artifact.version for artifact in versions("churn", store=store)]


def write_state(store: Path, **models: object) -> None:
    folder = store.parent / "makunouchi"
    folder.mkdir(exist_ok=True)
    (folder / "deployment.json").write_text(json.dumps({"schema": 1, "models": models}))


def test_a_version_that_nothing_uses_is_deleted_as_a_whole(store: Path) -> None:
    Aliases("churn").set("challenger", "v2", author="anna")
    assert delete("churn:v1") == "v3"
    assert present(store) == ["v3", "v2"]
    assert sorted(path.name for path in store.parent.iterdir()) == ["models"]


def test_latest_then_names_the_newest(store: Path) -> None:
    assert delete("churn:v3") == "v2"
    assert find("churn", store=store).version == "v2"
    assert (store / "churn" / "latest").read_text() == "v2"


def test_the_folder_of_a_model_goes_with_its_last_version(store: Path) -> None:
    aliases = Aliases("churn")
    aliases.set("challenger", "v1", author="anna")
    aliases.remove("challenger", author="anna")
    for version in ("v3", "v2"):
        delete(f"churn:{version}")
    assert delete("churn:v1") == ""
    assert list(store.iterdir()) == []


def test_an_incomplete_version_can_be_deleted(store: Path) -> None:
    (store / "churn" / "v1" / "manifest.json").unlink()
    delete("churn:v1")
    assert not (store / "churn" / "v1").exists()


@pytest.mark.parametrize(
    "tag", ["churn", "churn:", "churn:latest", "churn:v9", "other:v1", "churn:../churn/v1", "churn:."]
)
def test_what_is_no_version_is_not_deleted(store: Path, tag: str) -> None:
    with pytest.raises(ArtifactMissing, match=r"no version '.*' of artifact"):
        delete(tag)
    assert present(store) == ["v3", "v2", "v1"]


def test_the_target_of_an_alias_is_not_deleted(store: Path) -> None:
    Aliases("churn").promote(CHAMPION, "v1", author="anna")
    with pytest.raises(ArtifactInUse, match="churn:v1 is not deleted: it is named by alias 'champion'"):
        delete("churn:v1")
    with pytest.raises(ArtifactMissing, match="'champion' is an alias of artifact 'churn'; a deletion names a version"):
        delete("churn:champion")
    assert present(store) == ["v3", "v2", "v1"]


@pytest.mark.parametrize(
    ("model", "state", "use"),
    [
        ("churn", {"version": "v1", "configured": "churn:latest"}, "pinned by churn"),
        ("churn", {"version": None, "weights": {"v2": 1.0, "v1": 0.0}}, "in the traffic of churn"),
        ("churn", {"shadow": "v1", "weights": {}}, "shadow of churn"),
        ("shop", {"version": "v1", "configured": "churn:champion"}, "pinned by shop"),
        ("shop", {"weights": {"v1": 1.0}}, "in the traffic of shop"),
        ("shop", {"change": {"entry": {"artifact": "churn:v1"}, "base": None}}, "configured for shop"),
        ("churn", {"version": "v1", "configured": "https://models.example/x"}, "pinned by churn"),
        ("churn", {"weights": {"v1": 1.0}, "change": {"entry": {"artifact": "s3://models/x"}}}, "in the traffic of ch"),
    ],
)
def test_what_the_deployment_state_wants_is_not_deleted(
    store: Path, model: str, state: dict[str, object], use: str
) -> None:
    write_state(store, **{model: state, "image": {"version": "v3", "configured": "image:latest"}})
    with pytest.raises(ArtifactInUse, match=f"churn:v1 is not deleted: it is {use}"):
        delete("churn:v1")
    assert present(store) == ["v3", "v2", "v1"]


def test_the_state_of_another_model_with_such_a_version_does_not_count(store: Path) -> None:
    save_version(store, "v1", name="other")
    write_state(store, other={"version": "v1"}, image={"version": "v1", "configured": "image:latest"})
    delete("churn:v1")


@pytest.mark.parametrize("content", ["{", "[]", '{"models": {"churn": 3}}', '{"models": []}', "{}"])
def test_where_the_state_cannot_be_read_nothing_is_deleted(store: Path, content: str) -> None:
    write_state(store)
    (store.parent / "makunouchi" / "deployment.json").write_text(content)
    with pytest.raises(
        StoreUnavailable, match=r"deployment\.json .* which versions are served: its content is malformed"
    ):
        delete("churn:v1")
    assert present(store) == ["v3", "v2", "v1"]


def test_a_version_that_this_process_has_loaded_is_not_deleted(store: Path, tmp_path: Path) -> None:
    cache = ArtifactCache("churn", code=tmp_path)
    loaded, again = cache.find_verified("v1"), cache.find_verified("v1")
    cache.find("v2")
    del loaded
    with pytest.raises(ArtifactInUse, match="churn:v1 is not deleted: a running service has loaded it"):
        delete("churn:v1")
    assert is_loaded(again.folder)
    assert not is_loaded(store / "churn" / "v2")
    del again
    gc.collect()
    delete("churn:v1")
    assert present(store) == ["v3", "v2"]


def test_a_version_that_another_process_has_loaded_is_deleted_after_its_end(store: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom models.store.artifact_cache import ArtifactCache\n"
        "kept = ArtifactCache('churn:v1', code=Path('.')).find_verified()\nprint('loaded', flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"loaded\n"
        with pytest.raises(ArtifactInUse, match="a running service has loaded it"):
            delete("churn:v1")
        process.kill()
        process.wait()
    delete("churn:v1")

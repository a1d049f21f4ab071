"""Archives of versions: BentoML and this platform read each other's; hostile ones leave the store unchanged."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.errors import ArtifactInvalid, ArtifactMissing
from models.store.aliases import Aliases
from models.store.archive import FORMATS, export_version, import_version
from models.store.artifacts import Artifact, find, verify
from models.store.manifest import file_sha256
from tests.models.store.registry_store import save_version

BENTOML = str(Path(sys.executable).parent / "bentoml")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "home" / "models"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """The store of another machine."""
    return tmp_path / "other" / "models"


@pytest.fixture
def artifact(store: Path) -> Artifact:
    return save_version(store, "v1")


def contents(store: Path) -> list[str]:
    return sorted(path.relative_to(store.parent).as_posix() for path in store.parent.rglob("*"))


def bentoml(home: Path, *arguments: str) -> None:
    environment = os.environ | {"BENTOML_HOME": str(home)}
    subprocess.run([BENTOML, "models", *arguments], env=environment, check=True, capture_output=True)


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_exported_version_is_imported_elsewhere(
    artifact: Artifact, store: Path, other: Path, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"churn{suffix}"
    assert export_version("churn:v1", file, store=store) == artifact
    imported = import_version(file, store=other)
    assert imported == find("churn:latest", store=other)
    assert imported.card == artifact.card
    verify(imported)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [file.name]
    with tarfile.open(file) as archive:
        assert {(member.uname, member.uid) for member in archive} == {("", 0)}


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".bentomodel"])
def test_bentoml_imports_an_export(artifact: Artifact, store: Path, other: Path, tmp_path: Path, suffix: str) -> None:
    export_version("churn:v1", tmp_path / f"churn{suffix}", store=store)
    bentoml(other.parent, "import", str(tmp_path / f"churn{suffix}"))
    verify(find("churn:v1", store=other))


@pytest.mark.parametrize("suffix", [".tar", ".gz", ".bentomodel"])
def test_an_export_of_bentoml_is_imported(
    artifact: Artifact, store: Path, other: Path, tmp_path: Path, suffix: str
) -> None:
    bentoml(store.parent, "export", "churn:v1", str(tmp_path / f"churn{suffix}"))
    verify(import_version(tmp_path / f"churn{suffix}", store=other))


def test_an_import_does_not_move_latest(artifact: Artifact, store: Path, other: Path, tmp_path: Path) -> None:
    save_version(other, "v0")
    export_version("churn:v1", tmp_path / "churn.tar", store=store)
    import_version(tmp_path / "churn.tar", store=other)
    assert find("churn", store=other).version == "v0"


def test_what_is_there_already_stays(artifact: Artifact, store: Path, tmp_path: Path) -> None:
    export_version("churn:v1", tmp_path / "churn.tar", store=store)
    before = contents(store)
    with pytest.raises(ArtifactInvalid, match="churn:v1 is already in the model store"):
        import_version(tmp_path / "churn.tar", store=store)
    assert contents(store) == before


def test_a_version_with_the_name_of_an_alias_is_refused(
    artifact: Artifact, store: Path, other: Path, tmp_path: Path
) -> None:
    save_version(other, "v2")
    Aliases("churn", store=other).set("v1", "v2", author="anna")
    export_version("churn:v1", tmp_path / "churn.tar", store=store)
    with pytest.raises(ArtifactInvalid, match="'v1' is an alias of artifact 'churn'"):
        import_version(tmp_path / "churn.tar", store=other)


@pytest.mark.parametrize("file", ["churn", "churn.zip", "churn.txt"])
def test_an_export_with_another_name_is_refused(artifact: Artifact, store: Path, tmp_path: Path, file: str) -> None:
    with pytest.raises(ArtifactInvalid, match=r"is no archive that can be written: use \.tar, "):
        export_version("churn:v1", tmp_path / file, store=store)


def test_an_altered_version_is_not_exported(artifact: Artifact, store: Path, tmp_path: Path) -> None:
    (artifact.folder / "weights.npy").write_bytes(b"Weights " * 1000)
    with pytest.raises(ArtifactInvalid, match="was altered"):
        export_version("churn:v1", tmp_path / "churn.tar", store=store)
    with pytest.raises(ArtifactMissing):
        export_version("churn:v9", tmp_path / "churn.tar", store=store)
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_a_failed_export_leaves_the_previous_file(
    artifact: Artifact, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "churn.tar"
    file.write_bytes(b"previous")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    with pytest.raises(OSError, match="No space left"):
        export_version("churn:v1", file, store=store)
    assert file.read_bytes() == b"previous"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["churn.tar"]


def _member(name: str, data: bytes = b"x", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for field, value in fields.items():
        setattr(member, field, value)
    return member, data


def _repack(artifact: Artifact, file: Path, *more: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(file, "w") as archive:
        archive.add(artifact.folder, ".")
        for member, data in more:
            archive.addfile(member, io.BytesIO(data))
    return file


HOSTILE: dict[str, tuple[tuple[tarfile.TarInfo, bytes], str]] = {
    "a path out of the archive": (_member("../../escaped"), "'../../escaped' is not a name"),
    "a path out of a folder": (_member("more/../../escaped"), "is not a name that a file of an artifact may have"),
    "an absolute path": (_member("/srv/escaped"), "'/srv/escaped' is not a name"),
    "a path of Windows": (_member("..\\escaped"), "is not a name that a file of an artifact may have"),
    "a link": (
        _member("link", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        "'link' is a link, a device or a sparse file",
    ),
    "a hard link": (
        _member("link", b"", type=tarfile.LNKTYPE, linkname="card.json"),
        "is a link, a device or a sparse file",
    ),
    "a device": (_member("device", b"", type=tarfile.CHRTYPE), "is a link, a device or a sparse file"),
    "a pipe": (_member("pipe", b"", type=tarfile.FIFOTYPE), "is a link, a device or a sparse file"),
    "a file twice": (_member("card.json", b"{}"), "'card.json' is in the archive twice"),
    "a file in place of a folder": (_member("more"), "'more' is in the archive twice"),
    "a file in a file": (_member("card.json/x"), "'card.json/x' is in the archive twice"),
    "a file that is not listed": (
        _member("weights2.npy"),
        "'weights2.npy' of artifact 'churn:v1' is not in its manifest",
    ),
    "a pickle": (_member("model.PKL"), "'model.PKL' of artifact 'churn:v1' is not in its manifest"),
    "code": (_member("more/load.py"), "'more/load.py' of artifact 'churn:v1' is not in its manifest"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_leaves_nothing(artifact: Artifact, other: Path, tmp_path: Path, what: str) -> None:
    member, message = HOSTILE[what]
    other.mkdir(parents=True)
    file = _repack(artifact, tmp_path / "bad.tar", member)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ArtifactInvalid, match=message):
        import_version(file, store=other)
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/srv/escaped").exists()


def _change(file: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / file).write_bytes(data)


def _list_a_pickle(folder: Path) -> None:
    (folder / "model.joblib").write_bytes(b"x")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["model.joblib"] = [1, file_sha256(folder / "model.joblib")]
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_change("weights.npy", b"Weights " * 1000), "'weights.npy' of artifact 'churn:v1' was altered"),
        (_change("weights.npy", b"short"), "'weights.npy' of artifact 'churn:v1' is missing or cut"),
        (lambda folder: (folder / "manifest.json").unlink(), r"is incomplete: no readable manifest\.json"),
        (lambda folder: (folder / "model.yaml").unlink(), r"no readable model\.yaml"),
        (_change("model.yaml", b"name: ../x\nversion: v1\n"), "'../x' is not a valid artifact name"),
        (_change("model.yaml", b"name: churn\nversion: latest\n"), r"no readable model\.yaml"),
        (_change("model.yaml", b"name: churn\nversion: 3\n"), r"no readable model\.yaml"),
        (_change("model.yaml", b"!!python/object/apply:os.system ['touch /srv/escaped']"), r"no readable model\.yaml"),
        (_list_a_pickle, "'model.joblib' has a format that artifacts may not have"),
    ],
)
def test_an_altered_archive_leaves_nothing(
    artifact: Artifact, other: Path, tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    change(artifact.folder)
    with pytest.raises(ArtifactInvalid, match=message):
        import_version(_repack(artifact, tmp_path / "bad.tar"), store=other)
    assert contents(other) == ["models"]


@pytest.mark.parametrize("data", [b"", b"hello", b"\x1f\x8b\x08\0broken", b"PK\3\4", b"\xfd7zXZ\0\0"])
def test_a_file_that_is_no_archive_is_refused(other: Path, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(
        ArtifactInvalid,
        match=r"archive 'x\.tar' is refused: it is not a tar archive, or it is damaged|no readable model\.yaml",
    ):
        import_version(tmp_path / "x.tar", store=other)
    assert contents(other) == ["models"]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.xz"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_cut_archive_is_refused(
    artifact: Artifact, store: Path, other: Path, tmp_path: Path, suffix: str, share: float
) -> None:
    file = tmp_path / f"churn{suffix}"
    export_version("churn:v1", file, store=store)
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data.rstrip(b"\0")))])
    with pytest.raises(ArtifactInvalid):
        import_version(file, store=other)
    assert contents(other) == ["models"]


def test_an_archive_larger_than_the_disk_is_refused(
    artifact: Artifact, store: Path, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_version("churn:v1", tmp_path / "churn.tar.gz", store=store)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 5000))
    with pytest.raises(ArtifactInvalid, match=r"unpacks to more than 5000 bytes \(the free disk space\)"):
        import_version(tmp_path / "churn.tar.gz", store=other)
    assert contents(other) == ["models"]

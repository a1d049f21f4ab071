"""One version of a model as a tar archive, in the layout of `bentoml models export`: export and import.

An archive may come from anywhere. Importing it runs no code of it: its files are checked against their manifest, links
and paths that lead out of the archive are refused, and so are formats that run code when they are loaded.
"""

from __future__ import annotations

import lzma
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Final, Literal

import yaml

from models.errors import ArtifactInvalid
from models.store.artifacts import (
    MANIFEST_FILE,
    Artifact,
    check_name,
    default_store,
    find,
    listed_files,
    publish,
    read_artifact,
    staging_folder,
    verify,
    versions,
)

Mode = Literal["w:", "w:gz", "w:xz"]

# By the end of the file's name. BentoML reads the same.
FORMATS: Final[Mapping[str, Mode]] = {
    ".tar": "w:", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.xz": "w:xz", ".bentomodel": "w:xz",
}  # fmt: skip
# BentoML's description of a model, which its tools need. The manifest is written before it.
MODEL_FILE: Final = "model.yaml"
# Pickles in their usual files, and code.
_RUNS_CODE: Final = (
    ".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle", ".pt", ".pth", ".ckpt", ".py", ".pyc", ".so", ".sh",
)  # fmt: skip
_MAX_DESCRIPTION_BYTES: Final = 1 << 20
_COPY_BYTES: Final = 1 << 20


def export_version(tag: str, file: Path, *, store: Path | None = None) -> Artifact:
    """Write the version of `tag` into the archive `file`, whose name decides the compression.

    Raise ArtifactMissing, ArtifactInvalid for a version with an altered file or a name that is not one of `FORMATS`,
    and OSError; an existing file is replaced only by a complete one.
    """
    mode = next((mode for suffix, mode in FORMATS.items() if file.name.endswith(suffix)), None)
    if mode is None:
        raise ArtifactInvalid(f"'{file.name}' is no archive that can be written: use {', '.join(FORMATS)}")
    artifact = find(tag, store=store)
    verify(artifact)
    temporary = file.with_name(f".{file.name}.part")
    try:
        with tarfile.open(temporary, mode) as archive:
            for path in sorted(artifact.folder.rglob("*")):
                archive.add(path, path.relative_to(artifact.folder).as_posix(), recursive=False, filter=_anonymous)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
    return artifact


def import_version(file: Path, *, store: Path | None = None) -> Artifact:
    """Add the version in the archive `file` to the store under its own name and version.

    `latest` names it only where the model has no other version. Raise ArtifactInvalid, and OSError; the store is then
    unchanged.
    """
    store = store or default_store()
    with staging_folder(store) as staging:
        unpacked = staging / ".unpacked"
        _unpack(file, unpacked)
        name, version = _tag(unpacked)
        staged = staging / name / version
        staged.parent.mkdir(exist_ok=True)
        unpacked.rename(staged)
        artifact = read_artifact(staged)
        check_files(artifact)
        if (store / name / version).exists():
            raise ArtifactInvalid(f"{artifact.tag} is already in the model store")
        return publish(staged, store=store, is_promoted=not versions(name, store=store))


def check_files(artifact: Artifact) -> None:
    """Check the files of an artifact from elsewhere: all are in its manifest, unaltered, and of formats without code.

    Raise ArtifactInvalid.
    """
    listed = listed_files(artifact)
    for path in sorted(artifact.folder.rglob("*")):
        file = path.relative_to(artifact.folder).as_posix()
        if path.name.lower().endswith(_RUNS_CODE):
            raise ArtifactInvalid(f"file '{file}' of artifact '{artifact.tag}' has a format that runs code when loaded")
        if path.is_file() and file not in (*listed, MANIFEST_FILE, MODEL_FILE):
            raise ArtifactInvalid(f"file '{file}' of artifact '{artifact.tag}' is not in its {MANIFEST_FILE}")
    verify(artifact)


def _unpack(file: Path, folder: Path) -> None:
    """Write the files of an archive into `folder`. Raise ArtifactInvalid for anything but files and folders."""
    folder.mkdir()
    left = shutil.disk_usage(folder).free
    try:
        with tarfile.open(file) as archive:
            for member, path in _files(archive):
                left -= member.size
                if left < 0:
                    raise ArtifactInvalid(f"archive '{file.name}' unpacks to more than the free disk space")
                stream = archive.extractfile(member)
                if stream is not None:
                    _copy(stream, folder / path)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ArtifactInvalid(f"'{file.name}' is not a tar archive, or it is damaged") from error


def _files(archive: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, PurePosixPath]]:
    """Yield the files of an archive with their paths. Raise ArtifactInvalid for a path that leads elsewhere."""
    for member in archive:
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or "\\" in member.name or "\0" in member.name:
            raise ArtifactInvalid(f"the archive has a member outside of its folder: '{member.name[:100]}'")
        if member.isdir():
            continue
        if not member.isreg() or member.issparse() or not path.parts:
            raise ArtifactInvalid(f"member '{member.name[:100]}' of the archive is not a file")
        yield member, path


def _copy(stream: IO[bytes], target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            shutil.copyfileobj(stream, file, _COPY_BYTES)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise ArtifactInvalid(f"the archive has two members named '{target.name[:100]}'") from error


def _tag(folder: Path) -> tuple[str, str]:
    """Return the name and the version in `model.yaml`. Raise ArtifactInvalid."""
    try:
        with (folder / MODEL_FILE).open("rb") as file:
            description = yaml.safe_load(file.read(_MAX_DESCRIPTION_BYTES))
        name, version = description["name"], description["version"]
        for part in (name, version):
            check_name(part)
        if version == "latest":
            raise ValueError(version)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ArtifactInvalid(f"the archive has no readable {MODEL_FILE}; it is not an exported model") from error
    return name, version


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Return a member without the user of this machine."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member

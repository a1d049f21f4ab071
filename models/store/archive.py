"""One version of a model as a tar archive, in the layout of `bentoml models export`: export and import.

An archive may come from anywhere. Importing it runs no code of it: its files are checked against their manifest, links
and paths that lead out of the archive are refused, and so are formats that may run code when they are loaded.
"""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import yaml

from models.errors import ArtifactInvalid
from models.store.artifacts import Artifact, check_name, default_store, find, read_artifact, verify, versions
from models.store.manifest import MANIFEST_FILE, MODEL_FILE, read_manifest
from models.store.saving import publish, staging_folder
from models.store.unpacking import unpack

Mode = Literal["w:", "w:gz", "w:xz"]

# By the end of the file's name. BentoML reads the same.
FORMATS: Final[Mapping[str, Mode]] = {
    ".tar": "w:", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.xz": "w:xz", ".bentomodel": "w:xz",
}  # fmt: skip
_MAX_DESCRIPTION_BYTES: Final = 1 << 20


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
        unpacked.mkdir()
        try:
            free = shutil.disk_usage(staging).free
            folder = unpack(file, unpacked, max_bytes=free, bound="the free disk space")
        except ArtifactInvalid as error:
            raise ArtifactInvalid(f"archive '{file.name}' is refused: {error}") from None
        name, version = _tag(folder)
        staged = staging / name / version
        staged.parent.mkdir(exist_ok=True)
        folder.rename(staged)
        artifact = read_artifact(staged)
        _check_files(artifact)
        if (store / name / version).exists():
            raise ArtifactInvalid(f"{artifact.tag} is already in the model store")
        return publish(staged, store=store, is_promoted=not versions(name, store=store))


def _check_files(artifact: Artifact) -> None:
    """Raise ArtifactInvalid unless the files of an artifact are those in its manifest, unaltered."""
    listed = read_manifest(artifact.folder).files
    for path in sorted(artifact.folder.rglob("*")):
        file = path.relative_to(artifact.folder).as_posix()
        if path.is_file() and file not in (*listed, MANIFEST_FILE, MODEL_FILE):
            raise ArtifactInvalid(f"file '{file}' of artifact '{artifact.tag}' is not in its {MANIFEST_FILE}")
    verify(artifact)


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

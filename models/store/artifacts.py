"""Artifacts in the BentoML model store: find them by tag, list them, verify them."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from models.card import Card, read_card
from models.errors import ArtifactInvalid, ArtifactMissing, StoreUnavailable, is_exhausted
from models.store.alias_file import target_of, targets
from models.store.manifest import file_sha256, read_manifest

# The version that was promoted last, in the folder of a model. BentoML's tools read it too.
LATEST_FILE = "latest"
# The rule of BentoML, which also accepts capitals and lowers them.
_NAME = re.compile(r"[a-z0-9]([-._a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Artifact:
    """One saved version of a model: name and version of its tag, its folder, its card."""

    name: str
    version: str
    folder: Path
    card: Card

    @property
    def tag(self) -> str:
        return f"{self.name}:{self.version}"


def default_store() -> Path:
    """Return the folder of BentoML's model store: `$BENTOML_HOME/models`, or `~/bentoml/models`."""
    return Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml") / "models"


def check_name(name: str) -> None:
    """Raise ArtifactInvalid for a name that is not permitted."""
    if not _NAME.fullmatch(name):
        raise ArtifactInvalid(
            f"'{name}' is not a valid artifact name: use at most 63 of a-z, 0-9, '-', '_' and '.', "
            "with a letter or a digit first and last"
        )


def find(tag: str, *, store: Path | None = None) -> Artifact:
    """Return the artifact of `tag`: "name", "name:latest", "name:version" or "name:alias".

    `latest` is the version that was promoted last, or the newest where that one is not usable.
    Raise ArtifactMissing with the command that trains it, or ArtifactInvalid.
    """
    store = store or default_store()
    name, _, version = tag.partition(":")
    if version in ("", "latest"):
        usable = versions(name, store=store)
        if not usable:
            present = (
                ", ".join(sorted(path.name for path in store.iterdir() if path.is_dir())) if store.is_dir() else ""
            )
            has = f"; the store has: {present}" if present else ""
            raise ArtifactMissing(f"no artifact '{name}' in the model store; run: make train{has}")
        promoted = promoted_version(store / name)
        return next((artifact for artifact in usable if artifact.version == promoted), usable[0])
    is_plain = _is_plain(name) and _is_plain(version)
    if is_plain and (store / name / version).is_dir():
        return read_artifact(store / name / version)
    target = target_of(store / name, version) if is_plain else None
    if target and (store / name / target).is_dir():
        return read_artifact(store / name / target)
    raise ArtifactMissing(_missing(name, version, target, store=store))


def names(*, store: Path | None = None) -> list[str]:
    """Return the names of the artifacts in the store, sorted; those of a store that cannot be read are none."""
    folder = store or default_store()
    try:
        return sorted(each.name for each in folder.iterdir() if each.is_dir() and _NAME.fullmatch(each.name))
    except OSError:
        return []


def size_bytes(artifact: Artifact) -> int:
    """Return the size of the artifact's files. Raise ArtifactInvalid without a readable manifest."""
    return read_manifest(artifact.folder).total_bytes


def versions(name: str, *, store: Path | None = None) -> list[Artifact]:
    """List the usable versions of one artifact, newest first. Skip folders that are not complete artifacts.

    Raise StoreUnavailable when the folder cannot be read.
    """
    folder = (store or default_store()) / name
    if not _is_plain(name) or not folder.is_dir():
        return []
    try:
        paths = [path for path in folder.iterdir() if path.is_dir()]
    except OSError as error:
        raise StoreUnavailable(f"the folder of artifact '{name}' cannot be read: {error.strerror}") from error
    usable = []
    for path in paths:
        with contextlib.suppress(ArtifactInvalid):
            usable.append(read_artifact(path))
    return sorted(usable, key=lambda artifact: (artifact.card.created, artifact.version), reverse=True)


def read_artifact(folder: Path) -> Artifact:
    """Read an artifact from its folder.

    Raise ArtifactInvalid when the card or a file is missing or truncated, and StoreUnavailable.
    """
    try:
        return _read(folder)
    except ArtifactInvalid as error:
        if not is_exhausted(error.__cause__):
            raise
        raise StoreUnavailable(f"{error}; the process is out of files or memory") from error


def _read(folder: Path) -> Artifact:
    for file, (size_bytes, _) in read_manifest(folder).files.items():
        path = folder / file
        if not path.is_file() or path.stat().st_size != size_bytes:
            name = f"{folder.parent.name}:{folder.name}"
            raise ArtifactInvalid(f"file '{file}' of artifact '{name}' is missing or cut")
    # An artifact from a source may be stored under another name than it was saved with.
    card = replace(read_card(folder), name=folder.parent.name)
    return Artifact(name=card.name, version=folder.name, folder=folder, card=card)


def verify(artifact: Artifact) -> None:
    """Compare the SHA-256 of every file with the manifest. Raise ArtifactInvalid with the name of an altered file."""
    for file, (_, sha256) in read_manifest(artifact.folder).files.items():
        try:
            is_same = file_sha256(artifact.folder / file) == sha256
        except OSError as error:
            raise ArtifactInvalid(f"file '{file}' of artifact '{artifact.tag}' cannot be read") from error
        if not is_same:
            raise ArtifactInvalid(
                f"file '{file}' of artifact '{artifact.tag}' was altered: its SHA-256 differs from the manifest"
            )


def _missing(name: str, version: str, target: str | None, *, store: Path) -> str:
    """Return the message for a version that is not there, or an alias of one that is not there."""
    known = ", ".join(artifact.version for artifact in versions(name, store=store)) or "none"
    if target:
        return (
            f"alias '{version}' of artifact '{name}' names version '{target}', which is not in the model store; "
            f"known: {known}; "
            f"move the alias: python -m models.store promote {name} VERSION --alias {version} --force --reason TEXT"
        )
    aliases = ", ".join(targets(store / name)) if _is_plain(name) else ""
    return f"no version '{version}' of artifact '{name}' in the model store; known: {known}" + (
        f"; aliases: {aliases}" if aliases else ""
    )


def promoted_version(folder: Path) -> str:
    """Return the version in the file `latest` of an artifact's folder, or an empty text."""
    try:
        return (folder / LATEST_FILE).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _is_plain(part: str) -> bool:
    return bool(part) and part not in (".", "..") and not any(character in part for character in "/\\\0")

"""Artifacts in the BentoML model store: save atomically, find by tag.

BentoML copies a finished model into its store file by file, so an interrupt or a full disk leaves a partial folder that
`latest` may resolve to and that breaks listing. An artifact is therefore created in a staging store on the same file
system and moved into place by one rename.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from models.card import Card, read_card, write_card
from models.errors import ArtifactInvalid, ArtifactMissing, StoreUnavailable, is_exhausted
from models.store.alias_file import AliasesInvalid, target_of, targets

MANIFEST_FILE = "manifest.json"
_STAGING_PREFIX = ".staging-"
_ABANDONED_S = 24 * 3600.0
_READ_BYTES = 1 << 20
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


@contextlib.contextmanager
def saving(
    card: Card, *, version: str | None = None, store: Path | None = None, is_promoted: bool = True
) -> Iterator[Path]:
    """Yield a folder for an artifact's files and publish it in the store as `card.name` when the block ends.

    On any exception, KeyboardInterrupt included, the store stays unchanged. BentoML generates the version from the time
    unless one is given; `latest` then names the new artifact if it `is_promoted`. Raise OSError when the disk is full,
    and ArtifactInvalid for a name that is not permitted.
    """
    check_name(card.name)
    import bentoml
    from bentoml._internal.models import ModelStore

    store = store or default_store()
    tag = card.name if version is None else f"{card.name}:{version}"
    with staging_folder(store) as staging:
        metadata = {"task": card.task, "algorithm": card.algorithm}
        with bentoml.models.create(tag, metadata=metadata, _model_store=ModelStore(staging)) as model:
            folder = Path(model.path)
            yield folder
            write_card(card, folder)
            _write_manifest(folder)
        staged = Path(staging) / str(model.tag.path())
        publish(staged, store=store, is_promoted=is_promoted)


@contextlib.contextmanager
def staging_folder(store: Path) -> Iterator[Path]:
    """Yield a folder next to the store, which the store does not list and from which one rename moves into it."""
    store.mkdir(parents=True, exist_ok=True)
    _clear_abandoned(store.parent)
    with tempfile.TemporaryDirectory(prefix=_STAGING_PREFIX, dir=store.parent) as staging:
        yield Path(staging)


def publish(staged: Path, *, store: Path, is_promoted: bool) -> Artifact:
    """Move the complete artifact `staged`, the folder `name/version` of a staging folder, into the store.

    `latest` then names it if it `is_promoted`. Raise ArtifactInvalid for an incomplete one, and for a version that has
    the name of an alias.
    """
    artifact = read_artifact(staged)
    folder = store / artifact.name
    with contextlib.suppress(AliasesInvalid):  # then no alias can be used in any case
        if target_of(folder, artifact.version) is not None:
            raise ArtifactInvalid(
                f"'{artifact.version}' is an alias of artifact '{artifact.name}'; choose another version"
            )
    _publish(staged, folder / artifact.version, is_promoted=is_promoted)
    return replace(artifact, folder=folder / artifact.version)


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
    return sum(size for size, _ in _read_manifest(artifact.folder).values())


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
    listed = _read_manifest(folder)
    for file, (size_bytes, _) in listed.items():
        path = folder / file
        if not path.is_file() or path.stat().st_size != size_bytes:
            name = f"{folder.parent.name}:{folder.name}"
            raise ArtifactInvalid(f"file '{file}' of artifact '{name}' is missing or cut")
    # An artifact from a source may be stored under another name than it was saved with.
    card = replace(read_card(folder), name=folder.parent.name)
    return Artifact(name=card.name, version=folder.name, folder=folder, card=card)


def verify(artifact: Artifact) -> None:
    """Compare the SHA-256 of every file with the manifest. Raise ArtifactInvalid with the name of an altered file."""
    for file, (_, sha256) in _read_manifest(artifact.folder).items():
        try:
            is_same = file_sha256(artifact.folder / file) == sha256
        except OSError as error:
            raise ArtifactInvalid(f"file '{file}' of artifact '{artifact.tag}' cannot be read") from error
        if not is_same:
            raise ArtifactInvalid(
                f"file '{file}' of artifact '{artifact.tag}' was altered: its SHA-256 differs from the manifest"
            )


def listed_files(artifact: Artifact) -> frozenset[str]:
    """Return the files in the artifact's manifest. Raise ArtifactInvalid without a readable one."""
    return frozenset(_read_manifest(artifact.folder))


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


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
        return (folder / "latest").read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _publish(staged: Path, target: Path, *, is_promoted: bool) -> None:
    staged.chmod(0o755)
    for path in staged.rglob("*"):
        if path.is_file():
            _sync(path)
    folder = target.parent
    folder.mkdir(parents=True, exist_ok=True)
    # BentoML's tools read the file `latest` too. Write the file in the staging folder, so that a full disk is detected
    # before the store changes.
    pointer = staged.parent / "latest"
    is_published = False
    try:
        pointer.write_text(target.name)
        os.rename(staged, target)
        is_published = True
        if is_promoted:
            os.replace(pointer, folder / "latest")
    except BaseException:
        if is_published:
            shutil.rmtree(target, ignore_errors=True)
        with contextlib.suppress(OSError):  # the folder holds other versions
            folder.rmdir()
        raise
    with contextlib.suppress(OSError):  # already saved; only a power loss can undo it
        _sync(folder)


def _clear_abandoned(home: Path) -> None:
    """Remove staging folders older than a day, left by killed processes."""
    for path in home.glob(f"{_STAGING_PREFIX}*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(path, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_manifest(folder: Path) -> None:
    listed = {
        path.relative_to(folder).as_posix(): [path.stat().st_size, file_sha256(path)]
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    (folder / MANIFEST_FILE).write_text(json.dumps({"files": listed}, indent=2))


def _read_manifest(folder: Path) -> dict[str, tuple[int, str]]:
    try:
        listed = json.loads((folder / MANIFEST_FILE).read_bytes())["files"]
        return {str(file): (int(size_bytes), str(sha256)) for file, (size_bytes, sha256) in listed.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactInvalid(
            f"artifact '{folder.parent.name}:{folder.name}' is incomplete: no readable {MANIFEST_FILE}"
        ) from error


def _is_plain(part: str) -> bool:
    return bool(part) and part not in (".", "..") and not any(character in part for character in "/\\\0")

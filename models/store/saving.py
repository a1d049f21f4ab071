"""Save artifacts in the BentoML model store, complete or not at all.

BentoML copies a finished model into its store file by file, so an interrupt or a full disk leaves a partial folder that
`latest` may resolve to and that breaks listing. An artifact is therefore created in a staging store on the same file
system and moved into place by one rename.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from models.card import Card, write_card
from models.errors import ArtifactInvalid
from models.store.alias_file import AliasesInvalid, target_of
from models.store.artifacts import LATEST_FILE, Artifact, check_name, default_store, read_artifact
from models.store.atomic_file import write_atomically
from models.store.file_formats import check_contents
from models.store.manifest import read_manifest, write_manifest

_STAGING_PREFIX = ".staging-"
_ABANDONED_S = 24 * 3600.0


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
            write_manifest(folder)
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

    `latest` then names it if it `is_promoted`. Raise ArtifactInvalid for an incomplete one, for one with a file that
    artifacts may not have, and for a version that has the name of an alias.
    """
    artifact = read_artifact(staged)
    check_contents(staged, read_manifest(staged).files)
    folder = store / artifact.name
    with contextlib.suppress(AliasesInvalid):  # then no alias can be used in any case
        if target_of(folder, artifact.version) is not None:
            raise ArtifactInvalid(
                f"'{artifact.version}' is an alias of artifact '{artifact.name}'; choose another version"
            )
    _publish(staged, folder / artifact.version, is_promoted=is_promoted)
    return replace(artifact, folder=folder / artifact.version)


def promote(artifact: Artifact) -> None:
    """Let `latest` name the artifact. Raise OSError."""
    write_atomically(artifact.folder.parent / LATEST_FILE, artifact.version.encode())


def _publish(staged: Path, target: Path, *, is_promoted: bool) -> None:
    staged.chmod(0o755)
    for path in staged.rglob("*"):
        if path.is_file():
            _sync(path)
    folder = target.parent
    folder.mkdir(parents=True, exist_ok=True)
    # BentoML's tools read the file `latest` too. Write the file in the staging folder, so that a full disk is detected
    # before the store changes.
    pointer = staged.parent / LATEST_FILE
    is_published = False
    try:
        pointer.write_text(target.name)
        os.rename(staged, target)
        is_published = True
        if is_promoted:
            os.replace(pointer, folder / LATEST_FILE)
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

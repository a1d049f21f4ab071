"""Deletion of one version of a model, which is refused while something uses it."""

from __future__ import annotations

import shutil
from pathlib import Path

from models.errors import ArtifactInUse, ArtifactMissing
from models.store.alias_file import changing_aliases, targets
from models.store.artifacts import default_store, promoted_version, versions
from models.store.saving import promote, staging_folder
from models.store.usage import default_state_folder, deployment_uses, unused


def delete(tag: str, *, store: Path | None = None, state_folder: Path | None = None) -> str:
    """Delete the version of `tag`, and return the version that `latest` names afterwards; empty for none.

    Raise ArtifactMissing, and ArtifactInUse where an alias names it, the deployment state of a service wants it, or a
    process of this host has loaded it. One rename removes it from the store, so that no part remains listed.
    """
    store = store or default_store()
    name, _, version = tag.partition(":")
    folder = store / name
    if version in targets(folder):
        raise ArtifactMissing(f"'{version}' is an alias of artifact '{name}'; a deletion names a version")
    if not version or Path(version).name != version or not (folder / version).is_dir():
        known = ", ".join(artifact.version for artifact in versions(name, store=store)) or "none"
        raise ArtifactMissing(f"no version '{version}' of artifact '{name}' in the model store; known: {known}")
    with changing_aliases(folder), staging_folder(store) as staging:
        if uses := _uses(name, version, store=store, state_folder=state_folder or default_state_folder()):
            raise ArtifactInUse(f"{tag} is not deleted: it is {', '.join(uses)}")
        try:
            with unused(folder / version):
                (folder / version).rename(staging / version)
        except ArtifactInUse as error:
            raise ArtifactInUse(f"{tag} is not deleted: {error}") from error
        return _move_latest(folder, version, store=store)


def _uses(name: str, version: str, *, store: Path, state_folder: Path) -> list[str]:
    aliases = [f"named by alias '{alias}'" for alias, target in targets(store / name).items() if target == version]
    return [*aliases, *deployment_uses(name, state_folder=state_folder, store=store).get(version, [])]


def _move_latest(folder: Path, deleted: str, *, store: Path) -> str:
    """Let `latest` name the newest version if it named the deleted one. Remove the folder of a model without any."""
    remaining = versions(folder.name, store=store)
    if not remaining and not targets(folder) and not any(path.is_dir() for path in folder.iterdir()):
        shutil.rmtree(folder)
        return ""
    if remaining and promoted_version(folder) in ("", deleted):
        promote(remaining[0])
    return promoted_version(folder)

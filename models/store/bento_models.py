"""The artifacts that a Bento was built with, and their location.

A Bento pins the exact versions in `bento.yaml`, next to the folder `src` with the code. Its artifacts are in the folder
`models` of the Bento in a container or an export, else in the model store. BentoML resolves "name:latest" against the
local store even inside a Bento, so that an older Bento would serve an artifact saved later; the pinned version takes
precedence over "latest".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from models.store.artifacts import Artifact, default_store, find


def locate(tag: str, *, source: Path) -> Artifact:
    """Return the artifact to serve for `tag`, for code in the folder `source`.

    Raise ArtifactMissing or ArtifactInvalid, as `artifacts.find` does.
    """
    name, _, version = tag.partition(":")
    if version in ("", "latest"):
        version = pinned_versions(source).get(name, "latest")
    return find(f"{name}:{version}", store=store_of(f"{name}/{version}", source=source))


def pinned_versions(source: Path) -> dict[str, str]:
    """Return versions by artifact name from the `bento.yaml` of the Bento around `source`; empty outside a Bento."""
    manifest = source.parent / "bento.yaml"
    if source.name != "src" or not manifest.is_file():
        return {}
    return dict(tag.split(":", 1) for tag in pinned_tags(yaml.safe_load(manifest.read_text())))


def pinned_tags(manifest: Mapping[str, Any]) -> list[str]:
    """Return the tags of the models in a `bento.yaml`: those that the build names, and those of its services."""
    entries = [manifest, *(manifest.get("services") or [])]
    return list(dict.fromkeys(str(model["tag"]) for entry in entries for model in entry.get("models") or []))


def store_of(path: str, *, source: Path) -> Path:
    """Return the store of `path` ("name/version"): that of the Bento when it contains `path`, else the model store."""
    bundled = source.parent / "models"
    return bundled if source.name == "src" and (bundled / path).is_dir() else default_store()

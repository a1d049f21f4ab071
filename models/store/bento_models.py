"""Which artifacts a Bento was built with, and where they lie. Knows the layout of a Bento, no model.

A Bento pins the exact versions it was built with in `bento.yaml`, beside the folder `src` that holds the code. Its
artifacts lie in the folder `models` of the Bento when it travels (a container, an export), else in the model store.
BentoML itself resolves "name:latest" against the local store even inside a Bento, so that an artifact saved later
would be served by an older Bento; what is pinned here wins over "latest".
"""

from __future__ import annotations

from pathlib import Path

import yaml

from models.store.artifacts import Artifact, default_store, find


def locate(tag: str, *, source: Path) -> Artifact:
    """The artifact to serve for `tag`, for code that lies in the folder `source`.

    Raises ArtifactMissing or ArtifactInvalid, as `store.find` does.
    """
    name, _, version = tag.partition(":")
    if version in ("", "latest"):
        version = pinned_versions(source).get(name, "latest")
    return find(f"{name}:{version}", store=store_of(f"{name}/{version}", source=source))


def pinned_versions(source: Path) -> dict[str, str]:
    """Version by artifact name, out of the `bento.yaml` of the Bento that `source` is in; empty outside a Bento."""
    manifest = source.parent / "bento.yaml"
    if source.name != "src" or not manifest.is_file():
        return {}
    listed = yaml.safe_load(manifest.read_text()).get("models") or []
    return dict(str(model["tag"]).split(":", 1) for model in listed)


def store_of(path: str, *, source: Path) -> Path:
    """The store that holds `path` ("name/version"): the Bento's own when it is there, else the model store."""
    packed = source.parent / "models"
    return packed if source.name == "src" and (packed / path).is_dir() else default_store()

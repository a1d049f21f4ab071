"""The artifacts that a Bento was built with, and their location.

A Bento pins the exact versions in `bento.yaml`, next to the folder `src` with the code. Its artifacts are in the folder
`models` of the Bento in a container or an export, else in the model store. BentoML resolves "name:latest" against the
local store even inside a Bento, so that an older Bento would serve an artifact saved later; the pinned version takes
precedence over "latest". An alias is different: somebody has moved it, so the one of the model store counts. Where the
store has none, such as in a container, the alias in `bento.yaml` does, which was recorded when the Bento was built. So
was the source of an artifact that came from one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from models.store.alias_file import is_alias, target_of
from models.store.artifacts import Artifact, default_store, find


def locate(tag: str, *, code: Path) -> Artifact:
    """Return the artifact to serve for `tag`, for code in the folder `code`.

    Raise ArtifactMissing or ArtifactInvalid, as `artifacts.find` does.
    """
    name, _, version = tag.partition(":")
    if version in ("", "latest"):
        version = pinned_versions(code).get(name, "latest")
    elif is_alias(version) and not _is_there(name, version, code):
        target = target_of(default_store() / name, version) or pinned_version(name, version, code=code)
        # An alias of a version that is not there is left to `find`, which explains it.
        version = target if target and _is_there(name, target, code) else version
    return find(f"{name}:{version}", store=store_of(f"{name}/{version}", code=code))


def pinned_versions(code: Path) -> dict[str, str]:
    """Return versions by artifact name from the `bento.yaml` of the Bento around `code`; empty outside a Bento."""
    return dict(tag.split(":", 1) for tag in pinned_tags(_manifest(code)))


def pinned_version(name: str, named: str, *, code: Path) -> str | None:
    """Return the version that an entry such as `{tag: "churn:e6yv", alias: champion}` pins for `named`.

    `named` is the alias, or the label of the source, that the settings had when the Bento was built.
    """
    tags = (str(model["tag"]).split(":", 1) for model in _models_of(_manifest(code)) if model.get("alias") == named)
    return next((version for model, version in tags if model == name), None)


def pinned_tags(manifest: Mapping[str, Any]) -> list[str]:
    """Return the tags of the models in a `bento.yaml`: those that the build names, and those of its services."""
    return list(dict.fromkeys(str(model["tag"]) for model in _models_of(manifest)))


def store_of(path: str, *, code: Path) -> Path:
    """Return the store of `path` ("name/version"): that of the Bento when it contains `path`, else the model store."""
    bundled = code.parent / "models"
    return bundled if code.name == "src" and (bundled / path).is_dir() else default_store()


def _is_there(name: str, version: str, code: Path) -> bool:
    path = f"{name}/{version}"
    return (store_of(path, code=code) / path).is_dir()


def _manifest(code: Path) -> Mapping[str, Any]:  # Any: YAML
    """Return the `bento.yaml` of the Bento around `code`; empty outside a Bento."""
    manifest = code.parent / "bento.yaml"
    if code.name != "src" or not manifest.is_file():
        return {}
    content: Mapping[str, Any] = yaml.safe_load(manifest.read_text())
    return content


def _models_of(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the entries of the models that the build names, and of those of its services."""
    entries = [manifest, *(manifest.get("services") or [])]
    return [model for entry in entries for model in entry.get("models") or []]

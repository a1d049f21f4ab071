"""What an entry of the model list means: its kind, and the settings that its kind reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from models.errors import SettingsInvalid
from models.store.artifact_cache import ArtifactCache
from serving.kinds.interface import Kind
from serving.settings.model_list import KEYS, ModelEntry, similar_key
from serving.settings.settings import Settings

# Settings of the service that an entry may have for its model alone.
SHARED: Final = ("max_batch_rows", "max_batch_bytes", "max_queue_rows", "request_timeout_s")


class KeyInvalid(SettingsInvalid):
    """A key of an entry that is unknown or has an invalid value."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True, slots=True)
class Resolved:
    """What an entry means: its kind, its settings and its artifacts."""

    entry: ModelEntry
    kind: Kind[Any]
    settings: Settings
    artifacts: ArtifactCache


def resolve(entry: ModelEntry, kinds: Sequence[Kind[Any]], settings: Settings, *, source: Path) -> Resolved:
    """Return what an entry means, for code in the folder `source`. Reads the store.

    Raises KeyInvalid, and ArtifactError for an artifact that cannot be read.
    """
    is_watched = entry.watch or bool(settings.watch_store_s)
    artifacts = ArtifactCache(entry.artifact, code=source, served_as=entry.name, is_watched=is_watched)
    kind = kind_of(entry, artifacts, kinds)
    return Resolved(entry, kind, model_settings(kind, entry, settings), artifacts)


def kind_of(entry: ModelEntry, artifacts: ArtifactCache, kinds: Sequence[Kind[Any]]) -> Kind[Any]:
    """Return the kind that the entry names, or else the one that serves the task of its artifact.

    Raises KeyInvalid for an unknown kind or a card of another one, and ArtifactError for an artifact that cannot be
    read.
    """
    named = next((kind for kind in kinds if kind.name == entry.kind), None)
    if entry.kind and named is None:
        known = ", ".join(kind.name for kind in kinds)
        raise KeyInvalid("kind", f"there is no kind '{entry.kind}'; known: {known}")
    task = artifacts.find().card.task
    kind = next((each for each in kinds if task in each.tasks), None)
    if named is not None and kind is not named:
        raise KeyInvalid("kind", f"the artifact '{entry.artifact}' has the task '{task}', not one of {named.name}")
    if kind is None:
        raise KeyInvalid("artifact", f"no kind serves the task '{task}' of the artifact '{entry.artifact}'")
    return kind


def model_settings(kind: Kind[Any], entry: ModelEntry, settings: Settings) -> Settings:
    """Return the settings of one model: those of the service, with the options of its entry.

    An option is the name of a setting, with or without the prefix of the kind. Raises KeyInvalid.
    """
    changes = {_field(kind, key): value for key, value in entry.options.items()}
    result: Settings = kind.settings_of(entry.name, settings)
    if not changes:
        return result
    try:
        # The environment does not count: every field has a value.
        return type(result)(**{**dict(result), **changes})
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        field = str(fault["loc"][0])
        key = next((key for key in entry.options if _field(kind, key) == field), field)
        raise KeyInvalid(key, f"{key}: {fault['msg'].removeprefix('Value error, ')}") from error


def check_steps(entry: ModelEntry) -> None:
    """Raise SettingsInvalid for user-defined steps in the process of the gateway."""
    if entry.placement == "inline" and (entry.preprocess or entry.postprocess):
        raise SettingsInvalid(
            f"model '{entry.name}' has steps, which are user code: its placement is `process` or an http:// "
            "address, not `inline`"
        )


def option_names(kind: Kind[Any]) -> tuple[str, ...]:
    """Return the options that an entry of this kind may have."""
    own = kind.settings.model_fields.keys() - Settings.model_fields.keys()
    names = [name.removeprefix(f"{kind.alias}_") for name in sorted(own)]
    names += [name for name in SHARED if name in kind.settings.model_fields]
    return tuple(name for name in dict.fromkeys(names) if name not in ("model", "placement", "replicas"))


def _field(kind: Kind[Any], key: str) -> str:
    if key not in option_names(kind):
        raise KeyInvalid(key, f"unknown key '{key}' of a model of kind {kind.name}; {_hint(kind, key)}")
    prefixed = f"{kind.alias}_{key}"
    return prefixed if prefixed in kind.settings.model_fields else key


def _hint(kind: Kind[Any], key: str) -> str:
    return similar_key(key, (*KEYS, *option_names(kind)))

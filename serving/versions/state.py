"""Desired state of the service: for each model its pinned version and its traffic split.

All gateways and runners of a host share one file, `deployment.json` in the state folder. A change is one
read-modify-write under a file lock, and one rename, so concurrent writers lose no update and readers see whole files.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models.errors import ArtifactError, text_of
from models.watch import Watch
from serving.runners.host.loaded_versions import StartVersions
from serving.versions.state_file import Signature, StateFile, StateInvalid
from serving.versions.state_migration import read_first_edition
from serving.versions.traffic_split import NO_SPLIT, TrafficSplit

log = logging.getLogger("makunouchi.deployment")


@dataclass(frozen=True, slots=True)
class EntryChange:
    """A change of the model list at run time: the entry of a model, or None where it was removed.

    It applies while the configured entry is still `base`, None where there is no configured one.
    """

    entry: Mapping[str, Any] | None
    base: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class ModelState:
    """Desired state of one model.

    `version` is pinned while the settings name the tag `configured`; None means the version that the tag resolves to.
    `reload_id` changes with each reload request, also when the version stays the same.
    """

    version: str | None = None
    configured: str = ""
    reload_id: str = ""
    split: TrafficSplit = NO_SPLIT
    change: EntryChange | None = None

    def pinned_version(self, configured: str) -> str | None:
        """Return the pinned version, or None when there is no pin or it was set for another tag than `configured`."""
        return self.version if self.configured == configured else None


DEFAULT_STATE = ModelState()


class DeploymentState:
    """Desired state in `folder`, which the first change creates. Thread-safe.

    A file that cannot be read leaves the last state that could be. A change that cannot be written applies to this
    process until it ends.
    """

    def __init__(self, folder: Path) -> None:
        self._file = StateFile(folder)
        self._lock = threading.Lock()
        self._signature: Signature | None = None
        self._saved: Mapping[str, ModelState] = {}
        self._unsaved: dict[str, ModelState] = {}
        self._is_read = False
        self._is_unreadable = False
        self._watch = Watch(
            "deployment_state", f"read {self._file.path.name}", keeps="the last known state applies", log=log
        )

    def models(self) -> Mapping[str, ModelState]:
        """Return the desired state by model name, in the order of `names`; reads the file if it has changed."""
        with self._lock:
            self._refresh()
            return self._last_known()

    def model(self, name: str) -> ModelState:
        """Return the desired state of one model; reads the file if it has changed."""
        return self.models().get(name, DEFAULT_STATE)

    def last(self, name: str) -> ModelState:
        """Return the desired state of one model as last read or written by this process. Does no I/O."""
        return self._unsaved.get(name) or self._saved.get(name, DEFAULT_STATE)

    def names(self) -> list[str]:
        """Return the models with a state, in the order in which they first had one, as last read. Does no I/O."""
        return list(self._last_known())

    def pin(self, name: str, version: str | None, *, configured: str) -> ModelState:
        """Record a reload of `name`: with `version`, or with what the tag `configured` resolves to when it is None."""
        reload_id = secrets.token_hex(8)
        return self.update(
            name, lambda state: replace(state, version=version, configured=configured, reload_id=reload_id)
        )

    def set_split(self, name: str, split: TrafficSplit) -> ModelState:
        """Record how the traffic of `name` is split."""
        return self.update(name, lambda state: replace(state, split=split))

    def set_entry(self, name: str, change: EntryChange) -> ModelState:
        """Record that a model was added, changed or removed. Its pin and its split end with the previous entry."""
        return self.update(name, lambda state: ModelState(change=change))

    def update(self, name: str, change: Callable[[ModelState], ModelState]) -> ModelState:
        """Apply `change` to the state of one model and return the result. May wait for another process's change."""
        try:
            with self._file.locked(), self._lock:
                self._refresh()
                models = self._last_known()
                models[name] = change(models.get(name, DEFAULT_STATE))
                self._write(models)
                return models[name]
        except OSError as error:
            log.warning("the state of %s cannot be saved and is lost at the next restart: %s", name, text_of(error))
            with self._lock:
                self._unsaved[name] = change(self.last(name))
                return self._unsaved[name]

    def start_versions(self, name: str, *, configured: str, find: Callable[[str], object]) -> StartVersions:
        """Return the versions that a runner of `name` loads at its start, without those that are not usable.

        `find` raises ArtifactError for a version that is not usable.
        """
        state = self.model(name)
        held = []
        for version in state.split.versions:
            try:
                find(version)
            except ArtifactError as error:
                log.error("version %s of %s is not loaded: %s", version, name, error)
            else:
                held.append(version)
        pinned = state.pinned_version(configured)
        if pinned is not None:
            try:
                find(pinned)
            except ArtifactError as error:
                log.error("%s starts with the configured version because the pin is not usable: %s", name, error)
                pinned = None
            else:
                log.warning("%s starts with the pinned version %s; a reload without a version unpins it", name, pinned)
        return StartVersions(pinned, tuple(held))

    def _last_known(self) -> dict[str, ModelState]:
        return {**self._saved, **self._unsaved}

    def _refresh(self) -> None:
        signature = self._file.signature()
        if self._is_read and signature == self._signature and not self._watch.is_failing:
            return
        self._is_read, self._signature = True, signature
        self._is_unreadable = True
        with self._watch.attempt():
            entries = self._read_entries(signature)
            self._saved, faults = self._models_of(entries)
            if faults:
                raise StateInvalid("; ".join(faults))
            self._is_unreadable = False

    def _read_entries(self, signature: Signature | None) -> Mapping[str, object]:
        if signature is not None:
            return self._file.read()
        if self._saved:
            raise StateInvalid("the file was removed; the next change writes it again")
        return read_first_edition(self._file.folder)

    def _models_of(self, entries: Mapping[str, object]) -> tuple[dict[str, ModelState], list[str]]:
        """Return the state of each model, and the faults of invalid entries, whose last state counts."""
        models: dict[str, ModelState] = {}
        faults = []
        for name, entry in entries.items():
            try:
                models[name] = _model_state(entry)
            except StateInvalid as error:
                models[name] = self._saved.get(name, DEFAULT_STATE)
                faults.append(f"the state of {name} is not valid: {error}")
        return models, faults

    def _write(self, models: Mapping[str, ModelState]) -> None:
        if self._is_unreadable:
            self._file.set_apart()
        self._file.write({name: _entry(state) for name, state in models.items()})
        self._saved, self._unsaved = models, {}
        self._signature, self._is_unreadable = self._file.signature(), False
        self._watch.recover()


def _model_state(entry: object) -> ModelState:
    if not isinstance(entry, dict):
        raise StateInvalid("the state of a model is not an object")
    try:
        weights = {str(version): float(weight) for version, weight in entry.get("weights", {}).items()}
        version, shadow = entry.get("version"), entry.get("shadow")
        split = TrafficSplit(weights, None if shadow is None else str(shadow))
        change = entry.get("change")
        configured, reload_id = str(entry.get("configured", "")), str(entry.get("reload_id", ""))
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise StateInvalid(str(error)) from error
    if not all(0 <= weight <= 1 for weight in weights.values()):
        raise StateInvalid("a weight is not between 0 and 1")
    return ModelState(None if version is None else str(version), configured, reload_id, split, _change(change))


def _change(value: object) -> EntryChange | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise StateInvalid("the change of an entry is not an object")
    entry, base = value.get("entry"), value.get("base")
    if not all(each is None or isinstance(each, dict) for each in (entry, base)):
        raise StateInvalid("an entry is not an object")
    return EntryChange(entry, base)


def _entry(state: ModelState) -> dict[str, object]:
    change = None if state.change is None else {"entry": state.change.entry, "base": state.change.base}
    return {
        **({"change": change} if change is not None else {}),
        "version": state.version,
        "configured": state.configured,
        "reload_id": state.reload_id,
        "weights": dict(state.split.weights),
        "shadow": state.split.shadow,
    }

"""What responses say of a model: its state, and the fault of an entry that is not valid."""

from __future__ import annotations

from models.errors import NotKnown
from models.store.artifacts import names
from serving.bento.bento_model import BentoModel, FailedModel
from serving.bento.model_settings import KeyInvalid
from serving.errors.exceptions import FieldFault
from serving.settings.model_list import ModelEntry
from serving.versions.model_changes import ModelStatus, ServedEntry


def served_entry(model: BentoModel) -> ServedEntry:
    """Return the state of a model that has been built."""
    status = model.handle.last_status
    state: ModelStatus = "ready" if status.ready else "failed" if model.is_lost else "unavailable"
    version = status.model.version if status.model is not None else ""
    runner = model.placed.on.name if model.placed.on is not None else ""
    return ServedEntry(model.entry, model.kind.name, state, version, status.detail, runner, model.alias)


def failed_entry(model: FailedModel, unread: str) -> ServedEntry:
    """Return the state of a model that cannot be served. `unread` is why its source cannot be read, or empty."""
    entry = model.entry
    return ServedEntry(entry, entry.kind, "failed", "", unread or model.reason, "", entry.name)


def entry_of_store(name: str) -> ModelEntry:
    """Return an entry for the artifact `name` of the store. Raises NotKnown with the names that are there."""
    if name not in names():
        known = ", ".join(names()[:50]) or "none"
        raise NotKnown(f"no model '{name[:100]}' in the store; known: {known}", location=("path", "name"))
    return ModelEntry(name=name, artifact=name, required=False)


def key_fault(error: KeyInvalid) -> Exception:
    """Return the fault of a key with its location in the body of a request."""
    if error.key == "kind":
        return NotKnown(str(error), location=("body", "kind"))
    is_option = error.key not in ("artifact", "runner", "placement")
    location = ("body", "options", error.key) if is_option else ("body", error.key)
    return FieldFault(str(error), location=location, value_type="string")

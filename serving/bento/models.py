"""The models of the service in the gateway: one runner service for each process, one handler for each model.

Without a model list they are those that the settings of the kinds name. Changes at run time are in the desired state,
which every process reads at its start.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
from bentoml._internal.configuration.containers import BentoMLContainer
from pydantic import ValidationError

from models.errors import ArtifactError, SettingsInvalid
from models.store.artifacts import Artifact
from models.store.sources.source import is_source, label_of
from serving.bento.bento_model import BentoModel, FailedModel, version_of
from serving.bento.memory_check import check_memory
from serving.bento.model_settings import KeyInvalid, Resolved, check_steps, resolve
from serving.bento.pipeline import Pipeline, pipeline_fault
from serving.bento.runners import Runners
from serving.bento.sources import fetch_at_start, fetch_for_change, fetch_now
from serving.kinds.handlers import Handlers
from serving.kinds.interface import Handler, Kind
from serving.kinds.served_model import ServedModel
from serving.runners.batching import BatchLimits
from serving.runners.placement import Placed, connect
from serving.settings.model_list import ModelEntry, ModelList, list_file, read_model_list
from serving.settings.settings import Settings
from serving.versions.deployed_model import DeployedModel, deployed_model
from serving.versions.state import DeploymentState

log = logging.getLogger("makunouchi.models")

WATCH_S = 2.0
# The same for sources: each look is a request to another host.
SOURCE_WATCH_S = 10.0


class BentoModels:
    """The models of the service by name, those that cannot be served, and the runners."""

    def __init__(
        self,
        kinds: Sequence[Kind[Any]],
        settings: Settings,
        state: DeploymentState,
        *,
        source: Path,
        module: str,
    ) -> None:
        self._kinds = kinds
        pipeline = Pipeline(self, settings)
        for kind in kinds:
            kind.connect(pipeline.ask)
        self._settings = settings
        self._state = state
        self._source = source
        self.listed: ModelList | None = None
        self._aliases: dict[str, str] = {}
        # What the check of a model list has read, so that it is read once.
        self._checked: dict[str, Resolved] = {}
        self.configured: tuple[ModelEntry, ...] = tuple(self._entries())
        self._not_fetched = fetch_at_start(self.desired(), settings, code=source)
        self.runners = Runners(
            kinds, settings, state, source=source, module=module, desired=self.desired, wire_name=self.wire_name
        )
        self.by_name: dict[str, BentoModel] = {}
        self.failed: dict[str, FailedModel] = {}
        for entry in self.desired():
            self._build_at_start(entry)
        self.handlers = Handlers(self.current_handlers())

    def __iter__(self) -> Iterator[BentoModel]:
        return iter(self.by_name.values())

    @property
    def deployed(self) -> list[DeployedModel[Artifact]]:
        """The models with their versions and runners."""
        return [model.deployed for model in self]

    def pins(self) -> list[tuple[str, str]]:
        """Return the tags of the versions that the entries name now, each with the alias that names it, or empty."""
        return list(dict.fromkeys((model.artifacts.stored_tag(), model.artifacts.alias) for model in self))

    def fault(self) -> str:
        """Return why the service cannot start, or an empty text.

        With a model list, a model that cannot be loaded does not stop the others.
        """
        if self.listed is None and self.failed:
            return next(iter(self.failed.values())).reason
        try:
            local = [model.artifacts for model in self if not model.entry.placement.startswith("http")]
            check_memory(local, what="the model list" if self.listed is not None else "the models")
            for model in self:
                if self.listed is None:
                    model.artifacts.check(*model.kind.tasks)
                model.kind.check(model.settings, model.entry.placement)
                check_steps(model.entry)
        except (ArtifactError, SettingsInvalid) as error:
            return str(error)
        return pipeline_fault(self)

    def fetch(self, entry: ModelEntry) -> None:
        """Fetch the artifact of an entry that names a source. Raises ArtifactError and SettingsInvalid."""
        fetch_for_change(entry, self._settings, is_configured=entry in self.configured, code=self._source)

    def watched(self) -> list[ModelEntry]:
        """Return the entries of models that follow what they name, and of those that are not served yet."""
        served = [model.entry for model in self if model.entry.watch or self._settings.watch_store_s]
        return [*served, *(model.entry for model in self.failed.values())]

    @property
    def source_watch_s(self) -> float:
        """The interval at which the sources of watched models are read."""
        return self._settings.watch_store_s or SOURCE_WATCH_S

    def refresh(self, entry: ModelEntry) -> str:
        """Fetch what the source of an entry holds now, and return its version. Raises as `fetch`."""
        return fetch_now(entry, self._settings)

    def resolve(self, entry: ModelEntry) -> Resolved:
        """Return what an entry means. Reads the store. Raises KeyInvalid and ArtifactError."""
        return resolve(entry, self._kinds, self._settings, source=self._source)

    def place(self, resolved: Resolved) -> Placed[Any]:
        """Return the runner of a model. Raises SettingsInvalid where there is none."""
        return self.runners.place(resolved.entry, resolved.kind, resolved.settings)

    def wire_name(self, entry: ModelEntry) -> str:
        """Return the name of a model for its runner: while an entry changes, the runner has the old and the new one."""
        if entry in self.configured or entry.placement.startswith("http"):
            return entry.name
        digest = hashlib.sha256(orjson.dumps(entry.spec(), option=orjson.OPT_SORT_KEYS)).hexdigest()
        return f"{entry.name}@{digest[:8]}"

    def connect(self, resolved: Resolved, placed: Placed[Any]) -> BentoModel:
        """Return the gateway's side of a model. Its handle starts at once if its runner is connected."""
        entry, kind, settings, artifacts = resolved.entry, resolved.kind, resolved.settings, resolved.artifacts
        limits = BatchLimits(
            max_batch_rows=settings.max_batch_rows,
            max_batch_bytes=settings.max_batch_bytes,
            max_queue_rows=settings.max_queue_rows,
            calls_in_flight=entry.replicas * kind.calls_in_flight(settings),
        )
        alias = self._aliases.get(entry.name, entry.name)
        method, wire_name = next(iter(kind.methods)), self.wire_name(entry)
        handle = connect(placed, limits, name=alias, method=method, model=wire_name)
        # Without an interval in the settings, a watched model is looked up every few seconds.
        watch_s = self._settings.watch_store_s or WATCH_S if entry.watch else None
        configured = label_of(entry.artifact)
        deployed = deployed_model(artifacts, handle, configured=configured, state=self._state, watch_s=watch_s)
        served: ServedModel[Any] = ServedModel(
            alias,
            handle,
            version_of(kind, artifacts, settings),
            deployed.router,
            timeout_s=settings.request_timeout_s,
            path_name=entry.name,
        )
        handler = kind.handler(served, settings)
        return BentoModel(entry, alias, kind, settings, artifacts, placed, wire_name, handle, deployed, handler)

    def add(self, model: BentoModel) -> None:
        """Serve a model, in the place of the one with its name."""
        self.failed.pop(model.name, None)
        by_name = self.by_name | {model.name: model}
        self.by_name = {name: by_name[name] for name in self.in_order(by_name)}

    def remove(self, name: str) -> BentoModel | None:
        """Serve a model no longer, and return it if there was one."""
        self.failed.pop(name, None)
        removed = self.by_name.get(name)
        self.by_name = {each: model for each, model in self.by_name.items() if each != name}
        return removed

    def seal(self) -> set[str]:
        """Make no further runners, and return the names of the models whose runner BentoML has not started."""
        running = BentoMLContainer.remote_runner_mapping.get()
        return self.runners.seal(running) & self.by_name.keys()

    def in_order(self, names: Iterable[str]) -> list[str]:
        """Return names of models as every gateway orders them: the configured ones as listed, then by their addition.

        Does no I/O.
        """
        known = dict.fromkeys([*(entry.name for entry in self.configured), *self._state.names()])
        places = {name: place for place, name in enumerate(known)}
        return sorted(names, key=lambda name: places.get(name, len(places)))

    def current_handlers(self) -> dict[str, Handler[Any]]:
        """Return the handlers by alias, in the order of the models."""
        return {model.alias: model.handler for model in self}

    def _entries(self) -> list[ModelEntry]:
        """Return the configured entries: those of the file, or the defaults of the kinds. Raises SettingsInvalid."""
        file = list_file(self._settings, self._source)
        if file is not None:
            self.listed = read_model_list(file)
            self._check_entries(self.listed)
            return list(self.listed)
        entries = []
        for kind in self._kinds:
            options = kind.options(self._settings)
            if options is not None:
                entry = ModelEntry(
                    # A source has no name.
                    name=kind.alias if is_source(options.tag) else options.name,
                    artifact=options.tag,
                    kind=kind.name,
                    placement=options.placement,
                    replicas=self._settings.runner_replicas if options.placement == "process" else 1,
                    options=dict(options.options),
                )
                entries.append(entry)
                self._aliases[entry.name] = kind.alias
        return entries

    def _check_entries(self, entries: ModelList) -> None:
        """Raise SettingsInvalid with a line for each key that is wrong, as far as the artifacts can be read."""
        faults = []
        for entry in entries:
            try:
                self._checked[entry.name] = self.resolve(entry)
            except KeyInvalid as error:
                faults.append(f"{entries.place(entry.name, error.key)}: {error}")
            except ArtifactError:
                continue
        if faults:
            raise SettingsInvalid("\n".join(faults))

    def desired(self) -> list[ModelEntry]:
        """Return the configured entries with the changes at run time, in the order of the models."""
        configured = {entry.name: entry for entry in self.configured}
        entries = dict(configured)
        for name, state in self._state.models().items():
            base = configured[name].spec() if name in configured else None
            if state.change is None or state.change.base != base:
                # The list was changed since: it counts.
                continue
            if state.change.entry is None:
                entries.pop(name, None)
                continue
            try:
                entries[name] = ModelEntry.model_validate(dict(state.change.entry))
            except ValidationError as error:
                log.error("the saved entry of %s is not valid and is ignored: %d faults", name, error.error_count())
        return [entries[name] for name in self.in_order(entries)]

    def _build_at_start(self, entry: ModelEntry) -> None:
        try:
            checked = self._checked.get(entry.name)
            resolved = checked if checked is not None and checked.entry == entry else self.resolve(entry)
            self.by_name[entry.name] = self.connect(resolved, self.place(resolved))
        except (ArtifactError, SettingsInvalid) as error:
            self.failed[entry.name] = FailedModel(entry, self._not_fetched.get(entry.name) or str(error))

"""What runs in the process of a runner: the models of its entries, loaded by their kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from models.errors import ArtifactInvalid, SettingsInvalid
from models.steps import load_steps
from models.store.sources.source import label_of
from serving.bento.model_settings import Resolved, resolve
from serving.concurrency import ThreadPool
from serving.kinds.interface import Kind
from serving.runners.host.instance import RunnerInstance
from serving.runners.host.loaded_versions import LoadedVersions
from serving.runners.host.models import HostedModels, Spec
from serving.settings.model_list import ModelEntry
from serving.settings.settings import Settings
from serving.versions.state import DeploymentState


class ModelHost:
    """Loads the models of one runner process. Its calls share `threads` threads, and low-priority calls one more."""

    def __init__(
        self,
        kinds: Sequence[Kind[Any]],
        settings: Settings,
        state: DeploymentState,
        *,
        source: Path,
        name: str,
        threads: int,
        may_block: bool,
    ) -> None:
        self._kinds = kinds
        self._settings = settings
        self._state = state
        self._source = source
        self._may_block = may_block
        self._threads = ThreadPool(threads, name=name)
        self._low_priority = ThreadPool(1, name=f"{name} low priority")

    def hosted(self, entries: Mapping[str, ModelEntry]) -> HostedModels:
        """Return the models of `entries`, by their names for gateways.

        A model that cannot be loaded is recorded with its reason.
        """
        models = HostedModels(self.create)
        for name, entry in entries.items():
            models.add(name, entry.spec())
        return models

    def create(self, spec: Spec) -> RunnerInstance:
        """Load the model of an entry. Raises ArtifactError, or what loading raises."""
        try:
            entry = ModelEntry.model_validate(dict(spec))
        except ValidationError as error:
            raise ArtifactInvalid("the entry is not valid for this runner; both need the same version") from error
        try:
            resolved = resolve(entry, self._kinds, self._settings, source=self._source)
        except SettingsInvalid as error:
            raise ArtifactInvalid(str(error)) from error
        steps = load_steps(entry.preprocess, entry.postprocess)
        model = _Model(resolved, self._state)
        methods = resolved.kind.methods
        default = next(iter(methods))
        return RunnerInstance(
            model,
            {
                # What other methods return, such as embeddings, is not what the step after the model takes.
                name: _batch_method(model.model, (steps if name == default else steps.before_only).around(spec.call))
                for name, spec in methods.items()
            },
            name=entry.name,
            threads=self._threads,
            low_priority=self._low_priority,
            may_block=self._may_block and not steps,
        )


class _Model:
    """One loaded model, for `RunnerInstance`."""

    def __init__(self, resolved: Resolved, state: DeploymentState) -> None:
        artifacts, configured = resolved.artifacts, label_of(resolved.entry.artifact)
        load = resolved.kind.load(resolved.settings)
        self.release: Callable[[], object] = getattr(load, "close", lambda: None)
        try:
            self.model: LoadedVersions[Any] = LoadedVersions(
                lambda version: load(artifacts.find_verified(version)),
                warm_up=resolved.kind.warm_up,
                start=state.start_versions(artifacts.name, configured=configured, find=artifacts.find),
            )
        except BaseException:
            self.release()
            raise


def _batch_method(model: LoadedVersions[Any], call: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    def predict(rows: Any) -> Any:  # Any: the kind's own payload
        with model.lease() as predictor:
            return call(predictor, rows)

    return predict

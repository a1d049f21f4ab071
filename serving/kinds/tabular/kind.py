"""The kind `tabular`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from models.card import Task
from models.store.artifacts import Artifact
from models.tabular.answers import TASKS
from serving.kinds.interface import BatchMethodSpec, Handler, Kind, ModelOptions
from serving.kinds.served_model import ServedModel
from serving.kinds.tabular.handler import TabularHandler
from serving.kinds.tabular.settings import TabularSettings
from serving.kinds.tabular.version import TabularVersion
from serving.runners.host.loaded_versions import Predictor
from serving.settings.settings import Settings


class Tabular(Kind[TabularSettings]):
    """Tabular models: rows of a table in, classes, estimates, clusters or scores out."""

    name: ClassVar[str] = "tabular"
    alias: ClassVar[str] = "tabular"
    runner: ClassVar[str] = "TabularRunner"
    runner_description: ClassVar[str] = (
        "Predicts encoded table rows, as float64 (N, columns): probabilities (N, classes), estimates (N, 1), or the "
        "numbers of the card's task."
    )
    tasks: ClassVar[tuple[Task, ...]] = TASKS
    settings: ClassVar[type[Settings]] = TabularSettings
    methods: ClassVar[Mapping[str, BatchMethodSpec]] = {
        "predict": BatchMethodSpec("array", "float64", lambda predictor, rows: predictor.predict(rows))
    }

    def options(self, settings: TabularSettings) -> ModelOptions:
        return ModelOptions(settings.tabular_model, settings.tabular_placement)

    def load(self, settings: TabularSettings) -> Callable[[Artifact], Predictor]:
        from models.tabular.model import TabularModel

        return TabularModel.load

    def version(self, artifact: Artifact, settings: TabularSettings) -> TabularVersion:
        return TabularVersion(artifact.card, max_rows=settings.max_rows)

    def handler(self, model: ServedModel[Any], settings: TabularSettings) -> Handler[Any]:
        return TabularHandler(model, max_rows=settings.max_rows, is_cached=settings.cache_tables)

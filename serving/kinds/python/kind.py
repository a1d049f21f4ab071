"""The kind `python`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

from models.card import Task
from models.errors import SettingsInvalid
from models.store.artifacts import Artifact
from serving.kinds.interface import Ask, BatchMethodSpec, Handler, Kind, ModelOptions
from serving.kinds.python.handler import PythonHandler
from serving.kinds.python.settings import PythonSettings
from serving.kinds.python.version import PythonVersion
from serving.kinds.served_model import ServedModel
from serving.runners.host.loaded_versions import Predictor
from serving.settings.settings import Settings


class PythonClasses(Kind[PythonSettings]):
    """User-defined classes: values of their input type in, values of their output type out."""

    name: ClassVar[str] = "python"
    alias: ClassVar[str] = "python"
    runner: ClassVar[str] = "PythonRunner"
    runner_description: ClassVar[str] = 'Answers `{"instance": ...}` with `{"prediction": ...}`, typed by the card.'
    tasks: ClassVar[tuple[Task, ...]] = ("python",)
    settings: ClassVar[type[Settings]] = PythonSettings
    methods: ClassVar[Mapping[str, BatchMethodSpec]] = {
        "predict": BatchMethodSpec("objects", "", lambda predictor, rows: predictor.predict(rows))
    }

    def __init__(self) -> None:
        self._ask: Ask | None = None
        # One for all models of the process: they may share modules.
        self._reloading: Callable[[Artifact], Predictor] | None = None

    def connect(self, ask: Ask) -> None:
        self._ask = ask

    def options(self, settings: PythonSettings) -> ModelOptions | None:
        return ModelOptions(settings.python_model, settings.python_placement) if settings.python_model else None

    def load(self, settings: PythonSettings) -> Callable[[Artifact], Predictor]:
        if settings.reload_code:
            from models.python.code_reload import CodeReloader

            self._reloading = self._reloading or CodeReloader(self._ask).load
            return self._reloading
        from models.python.model import PythonModel

        return partial(PythonModel.load, ask=self._ask)

    def version(self, artifact: Artifact, settings: PythonSettings) -> PythonVersion:
        return PythonVersion(artifact.card, max_instances=settings.max_instances)

    def handler(self, model: ServedModel[Any], settings: PythonSettings) -> Handler[Any]:
        return PythonHandler(model, max_instances=settings.max_instances)

    def check(self, settings: PythonSettings, placement: str) -> None:
        if placement == "inline":
            raise SettingsInvalid(
                "a model that is user code has the placement `process` or an http:// address, not `inline`"
            )
        if settings.reload_code and settings.environment == "production":
            raise SettingsInvalid("setting MAKUNOUCHI_RELOAD_CODE: it is for development, and this is production")

"""The kind `recommender`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from models.card import Task
from models.errors import SettingsInvalid
from models.recommender.feedback_log import FeedbackLog, default_url
from models.store.artifacts import Artifact
from serving.kinds.interface import BatchMethodSpec, Handler, Kind, ModelOptions
from serving.kinds.recommender.feedback import FeedbackHandler
from serving.kinds.recommender.handler import RecommenderHandler
from serving.kinds.recommender.settings import RecommenderSettings
from serving.kinds.recommender.version import RecommenderVersion
from serving.kinds.served_model import ServedModel
from serving.runners.host.loaded_versions import Predictor
from serving.settings.settings import Settings


class Recommenders(Kind[RecommenderSettings]):
    """Recommenders: users and items in, ranked items out."""

    name: ClassVar[str] = "recommender"
    alias: ClassVar[str] = "recommender"
    runner: ClassVar[str] = "RecommenderRunner"
    runner_description: ClassVar[str] = (
        "Answers recommendation queries and questions about users and items, each a JSON object."
    )
    tasks: ClassVar[tuple[Task, ...]] = ("recommendation",)
    settings: ClassVar[type[Settings]] = RecommenderSettings
    methods: ClassVar[Mapping[str, BatchMethodSpec]] = {
        "ask": BatchMethodSpec("objects", "", lambda predictor, queries: predictor.answer(queries))
    }

    def options(self, settings: RecommenderSettings) -> ModelOptions:
        log = settings.feedback_url or default_url()
        return ModelOptions(settings.recommender_model, settings.recommender_placement, {"feedback_url": log})

    def load(self, settings: RecommenderSettings) -> Callable[[Artifact], Predictor]:
        from models.recommender.online.dispatcher import Dispatcher
        from models.recommender.online.feedback_listener import FeedbackListener
        from models.recommender.online.recent_events import RecentEvents

        listener = FeedbackListener(_log(settings), RecentEvents(), window_days=settings.feedback_window_days).start()
        return _Loader(Dispatcher, listener, settings)

    def warm_up(self, predictor: Any) -> object:  # Any: a Dispatcher, imported in the runner's process alone
        return predictor.warm_up()

    def version(self, artifact: Artifact, settings: RecommenderSettings) -> RecommenderVersion:
        return RecommenderVersion(artifact.card)

    def handler(self, model: ServedModel[Any], settings: RecommenderSettings) -> Handler[Any]:
        feedback = FeedbackHandler(_log(settings).append, settings)
        return RecommenderHandler(model, settings, feedback=feedback)

    def settings_of(self, name: str, settings: RecommenderSettings) -> RecommenderSettings:
        """Give each recommender a feedback log of its own; that of the setting belongs to the model `recommender`."""
        if name == self.alias and settings.feedback_url:
            return settings
        return settings.model_copy(update={"feedback_url": default_url("" if name == self.alias else name)})

    def check(self, settings: RecommenderSettings, placement: str) -> None:
        is_local = placement in ("process", "inline")
        if settings.features and is_local and not Path(settings.features).is_dir():
            raise SettingsInvalid(f"setting MAKUNOUCHI_FEATURES: there is no folder '{settings.features}'")


def _log(settings: RecommenderSettings) -> FeedbackLog:
    return FeedbackLog(settings.feedback_url or default_url())


class _Loader:
    """Loads the artifacts of one recommender. All its versions share a thread that reads feedback."""

    def __init__(self, dispatcher: Any, listener: Any, settings: RecommenderSettings) -> None:  # Any: imported there
        self._dispatcher = dispatcher
        self._listener = listener
        self._settings = settings

    def __call__(self, artifact: Artifact) -> Predictor:
        predictor: Predictor = self._dispatcher.load(
            artifact,
            features=self._settings.features,
            features_ttl_s=self._settings.features_ttl_s,
            recent=self._listener.recent,
        )
        return predictor

    def close(self) -> None:
        """Stop the thread."""
        self._listener.stop()

"""The kind `text-classifier`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from models.card import Task
from models.store.artifacts import Artifact
from serving.kinds.interface import BatchMethodSpec, Handler, Kind, ModelOptions
from serving.kinds.served_model import ServedModel
from serving.kinds.text.handler import TextHandler
from serving.kinds.text.settings import TextSettings
from serving.kinds.text.version import TextVersion
from serving.runners.host.loaded_versions import Predictor
from serving.settings.settings import Settings


class TextClassifiers(Kind[TextSettings]):
    """Text classifiers: texts in, classes with probabilities out."""

    name: ClassVar[str] = "text-classifier"
    alias: ClassVar[str] = "text"
    runner: ClassVar[str] = "TextRunner"
    runner_description: ClassVar[str] = "Classifies texts, each a JSON object, into the probabilities of the classes."
    tasks: ClassVar[tuple[Task, ...]] = ("text-classification",)
    settings: ClassVar[type[Settings]] = TextSettings
    methods: ClassVar[Mapping[str, BatchMethodSpec]] = {
        "predict": BatchMethodSpec("objects", "", lambda predictor, rows: predictor.predict(rows))
    }

    def options(self, settings: TextSettings) -> ModelOptions | None:
        return ModelOptions(settings.text_model, settings.text_placement) if settings.text_model else None

    def load(self, settings: TextSettings) -> Callable[[Artifact], Predictor]:
        from models.text.classifier import TextClassifier

        return TextClassifier.load

    def version(self, artifact: Artifact, settings: TextSettings) -> TextVersion:
        return TextVersion(artifact.card)

    def handler(self, model: ServedModel[Any], settings: TextSettings) -> Handler[Any]:
        return TextHandler(model, max_texts=settings.max_texts)

"""The kind `image-classifier`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from models.card import Task
from models.cores import usable_cores
from models.store.artifacts import Artifact
from serving.kinds.image.handler import ImageHandler
from serving.kinds.image.settings import ImageSettings
from serving.kinds.image.version import ImageVersion, image_version
from serving.kinds.interface import BatchMethodSpec, Handler, Kind, ModelOptions
from serving.kinds.served_model import ServedModel
from serving.runners.host.loaded_versions import Predictor
from serving.settings.settings import Settings


class ImageClassifiers(Kind[ImageSettings]):
    """Image classifiers: image files in, classes with confidences out."""

    name: ClassVar[str] = "image-classifier"
    alias: ClassVar[str] = "image"
    runner: ClassVar[str] = "ImageRunner"
    runner_description: ClassVar[str] = (
        "Classifies images, as uint8 (N, H, W, 3), into probabilities (N, classes); `embed` adds their features."
    )
    tasks: ClassVar[tuple[Task, ...]] = ("image-classification",)
    settings: ClassVar[type[Settings]] = ImageSettings
    methods: ClassVar[Mapping[str, BatchMethodSpec]] = {
        "predict": BatchMethodSpec("array", "uint8", lambda predictor, rows: predictor.predict(rows)),
        "embed": BatchMethodSpec("array", "uint8", lambda predictor, rows: predictor.embed(rows)),
    }

    def options(self, settings: ImageSettings) -> ModelOptions:
        return ModelOptions(settings.image_model, settings.image_placement)

    def calls_in_flight(self, settings: ImageSettings) -> int:
        return settings.image_calls_in_flight

    def load(self, settings: ImageSettings) -> Callable[[Artifact], Predictor]:
        from models.image.classifier import ImageClassifier

        device = settings.image_device
        return lambda artifact: ImageClassifier.load(artifact, threads=usable_cores(), device=device)

    def version(self, artifact: Artifact, settings: ImageSettings) -> ImageVersion:
        return image_version(
            artifact, max_pixels=settings.max_image_pixels, max_decode_bytes=settings.image_decode_bytes
        )

    def handler(self, model: ServedModel[Any], settings: ImageSettings) -> Handler[Any]:
        return ImageHandler(model, settings)

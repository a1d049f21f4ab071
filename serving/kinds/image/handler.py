"""The handler of an image classifier: image files in, classes with confidences out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from models.card import Card
from models.errors import InputError, InvalidInput, PredictionFailed
from serving.context import deadline, requesting_version
from serving.errors.exceptions import EmbeddingMissing, FieldFault
from serving.http.operation import Operation
from serving.jobs.kind import JobKind
from serving.kinds.image import jobs, open_inference, routes, routes_v2, streams
from serving.kinds.image.decoding import DecodingPool, Image, decode_readable
from serving.kinds.image.fetcher import ImageFetcher
from serving.kinds.image.schemas import (
    BatchClassification,
    Classification,
    ClassifyOptions,
    ImageFailure,
    ImageResult,
)
from serving.kinds.image.schemas_v2 import ClassificationV2, ClassifyOptionsV2
from serving.kinds.image.settings import ImageSettings
from serving.kinds.image.top_classes import check, rank
from serving.kinds.image.upload import CLASSIFY_V1, image_in_json
from serving.kinds.image.version import ImageVersion, Pixels
from serving.kinds.interface import Handler, Json, Stream
from serving.kinds.responses import item_problem, model_used
from serving.kinds.served_model import Result, ServedModel
from serving.open_inference.codec import DecodedRequest
from serving.open_inference.outputs import Inferred
from serving.open_inference.schemas import TensorMetadata
from serving.runners.interface import Payload
from serving.versions.shadow_comparison import Comparison, compare_classes


class ImageHandler(Handler[ImageVersion]):
    """`classify_image`, `classify_images` and the same by version 2. Owns the threads that decode."""

    tags: ClassVar[tuple[tuple[str, str], ...]] = (("images", "Classification of images."),)

    def __init__(self, model: ServedModel[ImageVersion], settings: ImageSettings) -> None:
        super().__init__(model, is_cached=True)
        self.max_images = settings.max_batch_images
        self._timeout_s = settings.request_timeout_s
        self._decoding = DecodingPool(threads=settings.decode_threads, max_waiting=settings.max_queue_rows)
        self._fetcher = ImageFetcher.of(settings)

    def operations(self) -> list[Operation]:
        return [*routes.operations(self), *routes_v2.operations(self)]

    def streams(self) -> list[Stream]:
        return [streams.classify_stream(self)]

    def job_kind(self) -> JobKind:
        return jobs.job_kind(self)

    @property
    def native_methods(self) -> Mapping[str, Callable[..., Awaitable[Any]]]:
        async def classify_image(
            image: Path, top_k: int = 5, threshold: float = 0.0, model: str | None = None
        ) -> Classification:
            options = ClassifyOptions(top_k=top_k, threshold=threshold, model=model)
            return await self.classify(image.read_bytes(), options)

        async def classify_images(
            images: list[Path], top_k: int = 5, threshold: float = 0.0, model: str | None = None
        ) -> BatchClassification:
            files = [file.read_bytes() for file in images]
            options = ClassifyOptions(top_k=top_k, threshold=threshold, model=model)
            return await self.classify_many(files, options)

        return {"classify_image": classify_image, "classify_images": classify_images}

    async def answer_json(self, bodies: Sequence[bytes | bytearray]) -> list[bytes | Exception]:
        return list(await asyncio.gather(*(self._answer_json(body) for body in bodies), return_exceptions=False))

    def named(self, name: str | None) -> ImageHandler:
        """Return the image model that a request names, or this one. Raises FieldFault with the names of all."""
        if name is None:
            return self
        peers = {each.model.path_name: each for each in self.peers().values()} | dict(self.peers())
        match = peers.get(name)
        if not isinstance(match, ImageHandler):
            message = f"no image model '{name[:100]}' is served here; served: {', '.join(sorted(peers))}"
            raise FieldFault(message, location=("body", "model"), value_type="string")
        return match

    @property
    def fetches(self) -> bool:
        """Whether images are fetched by URL."""
        return self._fetcher is not None

    async def fetch(self, url: str) -> bytes:
        """Return the image file at `url`. Raises InvalidInput, InputTooLarge, Overloaded."""
        if self._fetcher is None:
            raise InvalidInput("images are not fetched by URL here; send the file", location=("body", "url"))
        return await self._fetcher.fetch(url)

    async def classify(self, image: bytes, options: ClassifyOptions | None = None) -> Classification:
        """Classify one image file.

        Raises InvalidInput, UnsupportedMedia or InputTooLarge for the image, and as `ServedModel.call`.
        """
        options = options or ClassifyOptions()
        result = await self.named(options.model)._classify_one(image)
        ranked = rank(result.values, 1, result.version.card.classes, options)
        return Classification(
            model=model_used(result.model), predictions=ranked[0], inference_time_ms=result.elapsed_ms
        )

    async def classify_v2(self, image: bytes, options: ClassifyOptionsV2) -> ClassificationV2:
        """Classify one image file by the model that `options` name, with its embedding where they ask for it.

        Raises FieldFault for a model that is not served, NotKnown for a version, EmbeddingMissing, and as `classify`.
        """
        named = self.named(options.model)
        with requesting_version(options.version, location=("body", "version")):
            result = await named._classify_one(image, method="embed" if options.embedding else "")
        classes = result.version.card.classes
        embedding = result.values[0, len(classes) :].astype(np.float64)
        if options.embedding and not len(embedding):
            raise EmbeddingMissing(
                f"version '{result.model.version}' of '{result.model.name}' has no embedding; train it again: "
                "python -m training.image, with a network that ends in a linear layer"
            )
        limits = ClassifyOptions(top_k=options.top_k, threshold=options.min_confidence)
        return ClassificationV2(
            model=model_used(result.model),
            predictions=rank(result.values[:, : len(classes)], 1, classes, limits)[0],
            # float32 as float64 would show digits that the model did not compute.
            embedding=[float(f"{value:.6g}") for value in embedding] if options.embedding else None,
            inference_time_ms=result.elapsed_ms,
        )

    async def classify_many(
        self, images: Sequence[bytes], options: ClassifyOptions | None = None
    ) -> BatchClassification:
        """Classify several image files: one result or one error per image, in order.

        Raises FieldFault for no images or too many, and as `ServedModel.call`.
        """
        options = options or ClassifyOptions()
        if not 1 <= len(images) <= self.max_images:
            message = f"1 to {self.max_images} images may be sent at a time, not {len(images)}"
            raise FieldFault(message, location=("body", "images"), value_type="array")
        decoded, result = await self.named(options.model)._predict(images)
        readable = sum(not isinstance(pixels, InputError) for pixels in decoded)
        ranked = iter(rank(result.values, readable, result.version.card.classes, options) if result else [])
        results = [
            ImageFailure(index=index, error=item_problem(pixels))
            if isinstance(pixels, InputError)
            else ImageResult(index=index, predictions=next(ranked))
            for index, pixels in enumerate(decoded)
        ]
        return BatchClassification(
            model=model_used(result.model) if result else None,
            results=results,
            inference_time_ms=result.elapsed_ms if result else 0.0,
        )

    async def probabilities(self, images: Sequence[Image], *, within: tuple[str | int, ...]) -> Result[ImageVersion]:
        """Return the probability of each class, (N, classes), for files or for pixels (H, W, 3).

        One bad image fails them all. `within` is the location of the images in the request. Raises as `classify`.
        """
        if not 1 <= len(images) <= self.max_images:
            raise InvalidInput(f"1 to {self.max_images} images may be sent, not {len(images)}", location=within)
        decoded, result = await self._predict(images)
        for index, pixels in enumerate(decoded):
            if isinstance(pixels, InputError):
                pixels.location = (*within, index)
                raise pixels
        if result is None:
            raise PredictionFailed("no result for images that could be read")
        check(result.values, len(images), result.version.card.classes)
        return result

    def tensors(self, card: Card) -> tuple[list[TensorMetadata], list[TensorMetadata]]:
        return open_inference.tensors(card)

    @property
    def inference_description(self) -> str:
        return open_inference.DESCRIPTION

    def inference_example(self) -> tuple[Json, Json]:
        return open_inference.example()

    async def infer(self, request: DecodedRequest) -> Inferred:
        return await open_inference.infer(self, request)

    def close(self) -> None:
        """Stop the threads that decode."""
        self._decoding.close()

    async def _answer_json(self, body: bytes | bytearray) -> bytes | Exception:
        try:
            image, options = await image_in_json(bytes(body), {}, self, CLASSIFY_V1)
            response = await self.classify(image, options)
        except Exception as error:
            return error
        return response.__pydantic_serializer__.to_json(response)

    async def _classify_one(self, image: bytes, *, method: str = "") -> Result[ImageVersion]:
        (pixels,), result = await self._predict([image], method=method)
        if isinstance(pixels, InputError):
            raise _in_file(pixels)
        if result is None:
            raise PredictionFailed("no result for an image that could be read")
        return result

    async def _predict(
        self, images: Sequence[Image], *, method: str = ""
    ) -> tuple[list[Pixels | InputError], Result[ImageVersion] | None]:
        """Return the pixels or the fault of each image, and the result for those that could be read."""
        until = deadline(self._timeout_s)
        decoded: list[Pixels | InputError] = []
        decoded_for: ImageVersion | None = None
        is_answered = False

        async def encode(version: ImageVersion) -> Payload | None:
            nonlocal decoded, decoded_for
            if decoded_for is None or decoded_for.preprocessing != version.preprocessing:
                if is_answered:
                    # The shadow version: no client waits for it, and the deadline may have passed.
                    return await asyncio.to_thread(decode_readable, images, version)
                decoded, decoded_for = await self._decoding.decode(images, version, until), version
            rows = [pixels for pixels in decoded if not isinstance(pixels, InputError)]
            return np.stack(rows) if rows else None

        result = await self.model.call(encode, method=method, compare=_compare)
        is_answered = True
        return decoded, result


def _compare(first: Result[ImageVersion], second: Result[ImageVersion]) -> Comparison:
    """Compare the likeliest classes of two versions for the same images."""
    labels, others = (_labels(each) for each in (first, second))
    return compare_classes(labels, others)


def _labels(result: Result[ImageVersion]) -> list[str]:
    classes = result.version.card.classes
    values = result.values[:, : len(classes)]
    check(values, len(values), classes)
    return [classes[place] for place in values.argmax(axis=1)]


def _in_file(error: InputError) -> InputError:
    """Return the fault of an image with its location in the request."""
    error.location = error.location or ("body", "image")
    error.is_file = True
    return error

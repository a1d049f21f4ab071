"""Classifies images: decodes them in threads, asks the runner, ranks the classes. Knows no HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from models.errors import (
    DeadlineExceeded,
    InputError,
    InvalidInput,
    NotKnown,
    Overloaded,
    PredictionFailed,
    RunnerUnavailable,
    VersionNotLoaded,
)
from serving.context import deadline, elapsed_ms, requesting_version
from serving.errors.exceptions import EmbeddingMissing, FieldFault
from serving.kinds.image.fetcher import ImageFetcher
from serving.kinds.image.schemas import (
    BatchClassification,
    Classification,
    ClassifyOptions,
    ImageFailure,
    ImageResult,
)
from serving.kinds.image.schemas_v2 import ClassificationV2, ClassifyOptionsV2
from serving.kinds.image.top_classes import check, rank
from serving.kinds.responses import item_problem, model_used
from serving.kinds.served_models import ImageModelVersion, ServedImages
from serving.runners.interface import FailedBy, RowsAnswer
from serving.settings.settings import Settings
from serving.versions.shadow_comparison import Comparison, compare_classes

Pixels = NDArray[np.uint8]
# Swaps of the model that one request lives through.
MAX_SWAPS = 4


class ImageHandler:
    """`classify_image` and `classify_images`. Owns the threads that decode; `close` ends them."""

    def __init__(self, served: ServedImages, settings: Settings) -> None:
        self.served = served
        self.max_images = settings.max_batch_images
        self._timeout_s = settings.request_timeout_s
        self._max_waiting = settings.max_queue_rows
        self._waiting = 0
        self._decode_threads = settings.decode_threads
        self._threads: ThreadPoolExecutor | None = None
        self._fetcher = ImageFetcher.of(settings)

    @property
    def fetches(self) -> bool:
        """Whether images are fetched by URL."""
        return self._fetcher is not None

    async def fetch(self, url: str) -> bytes:
        """The image file at `url`. Raises InvalidInput, InputTooLarge, Overloaded."""
        if self._fetcher is None:
            raise InvalidInput("images are not fetched by URL here; send the file", location=("body", "url"))
        return await self._fetcher.fetch(url)

    async def classify(self, image: bytes, options: ClassifyOptions | None = None) -> Classification:
        """The classes of one image file.

        Raises InvalidInput, UnsupportedMedia or InputTooLarge for the image, and what `RowsRunner.predict` raises.
        """
        options = options or ClassifyOptions()
        (pixels,), answer, edition, inference_time_ms = await self._predict([image], deadline(self._timeout_s))
        if isinstance(pixels, InputError) or answer is None:
            raise _located(pixels)
        ranked = rank(answer, 1, edition.card.classes, options)
        return Classification(
            model=model_used(answer.model), predictions=ranked[0], inference_time_ms=inference_time_ms
        )

    async def classify_v2(self, image: bytes, options: ClassifyOptionsV2) -> ClassificationV2:
        """The classes of one image file by the model that `options` name, and its embedding where they ask for it.

        Raises NotKnown for another model or version, EmbeddingMissing, and as `classify` does.
        """
        name = self.served.card().name
        if options.model not in (None, name):
            raise NotKnown(f"no image model '{options.model}' is served; known: {name}", location=("body", "model"))
        with requesting_version(options.version, location=("body", "version")):
            method = "embed" if options.embedding else ""
            (pixels,), answer, edition, took_ms = await self._predict([image], deadline(self._timeout_s), method=method)
        if isinstance(pixels, InputError) or answer is None:
            raise _located(pixels)
        classes = edition.card.classes
        embedding = answer.values[0, len(classes) :].astype(np.float64)
        if options.embedding and not len(embedding):
            raise EmbeddingMissing(
                f"version '{answer.model.version}' of '{name}' gives no embedding; train it anew: "
                "python -m training.image, with a network that ends in a linear layer"
            )
        asked = ClassifyOptions(top_k=options.top_k, threshold=options.min_confidence)
        shares = RowsAnswer(answer.values[:, : len(classes)], answer.model)
        return ClassificationV2(
            model=model_used(answer.model),
            predictions=rank(shares, 1, classes, asked)[0],
            # float32 as float64 would show digits that are not there.
            embedding=[float(f"{value:.6g}") for value in embedding] if options.embedding else None,
            inference_time_ms=took_ms,
        )

    async def classify_many(
        self, images: Sequence[bytes], options: ClassifyOptions | None = None
    ) -> BatchClassification:
        """One result or one error per image, in order: an image that cannot be read fails alone.

        Raises FieldFault for no images or too many, and what `RowsRunner.predict` raises.
        """
        options = options or ClassifyOptions()
        if not 1 <= len(images) <= self.max_images:
            message = f"1 to {self.max_images} images may be sent at a time, not {len(images)}"
            raise FieldFault(message, location=("body", "images"), value_type="array")
        decoded, answer, edition, inference_time_ms = await self._predict(images, deadline(self._timeout_s))
        readable = sum(not isinstance(pixels, InputError) for pixels in decoded)
        ranked = iter(rank(answer, readable, edition.card.classes, options) if answer else [])
        results = [
            ImageFailure(index=index, error=item_problem(pixels))
            if isinstance(pixels, InputError)
            else ImageResult(index=index, predictions=next(ranked))
            for index, pixels in enumerate(decoded)
        ]
        return BatchClassification(
            model=model_used(answer.model) if answer else None,
            results=results,
            inference_time_ms=inference_time_ms,
        )

    async def probabilities(
        self, images: Sequence[bytes | Pixels], *, within: tuple[str | int, ...]
    ) -> tuple[RowsAnswer, Sequence[str]]:
        """The probability of each class, (N, classes), of files or of pixels (H, W, 3), and the classes.

        One bad image fails them all. `within` is where the images are in the request. Raises as `classify` does.
        """
        if not 1 <= len(images) <= self.max_images:
            raise InvalidInput(f"1 to {self.max_images} images may be sent, not {len(images)}", location=within)
        decoded, answer, edition, _ = await self._predict(images, deadline(self._timeout_s))
        for index, pixels in enumerate(decoded):
            if isinstance(pixels, InputError):
                pixels.location = (*within, index)
                raise pixels
        if answer is None:
            raise PredictionFailed("no answer for images that could be read")
        check(answer, len(images), edition.card.classes)
        return answer, edition.card.classes

    def close(self) -> None:
        """End the threads. What waits for them is thrown away; a later call starts new ones."""
        threads, self._threads = self._threads, None
        if threads:
            threads.shutdown(wait=False, cancel_futures=True)

    async def _predict(
        self, images: Sequence[bytes | Pixels], until: float, *, method: str = ""
    ) -> tuple[list[Pixels | InputError], RowsAnswer | None, ImageModelVersion, float]:
        """Pixels or fault of each image, the answer for the former, what goes with the version that gave it, and its
        milliseconds. Which version answers is known only afterwards: what another one would decode otherwise is
        decoded and asked anew.
        """
        traffic = self.served.traffic
        choice = traffic.choose()
        edition = self._edition(choice.version or None)
        for _ in range(MAX_SWAPS):
            decoded = await self._decode_all(images, edition, until)
            rows = [pixels for pixels in decoded if not isinstance(pixels, InputError)]
            if not rows:
                return decoded, None, edition, 0.0
            started = time.perf_counter()
            stacked = np.stack(rows)
            asked = self.served.runner.predict(stacked, deadline=until, version=choice.version, method=method)
            try:
                answer = await traffic.measure(choice, asked)
            except VersionNotLoaded:
                choice = traffic.fall_back(choice)
                other = self._edition(None)
            except FailedBy as error:
                other = self._edition(error.model.version)
                if other.takes == edition.takes:
                    raise
            else:
                other = self._edition(answer.model.version)
                if other.takes == edition.takes:
                    self._shadow(images, stacked, answer, other)
                    return decoded, answer, other, elapsed_ms(started)
            edition = other
        raise RunnerUnavailable("the model changes faster than it answers")

    def _shadow(
        self, images: Sequence[bytes | Pixels], stacked: Pixels, answer: RowsAnswer, edition: ImageModelVersion
    ) -> None:
        classes = edition.card.classes
        labels = [classes[place] for place in answer.values[:, : len(classes)].argmax(axis=1)]

        async def agreement(version: str) -> Comparison:
            other = self._edition(version)
            rows = stacked if other.takes == edition.takes else await asyncio.to_thread(_decoded, images, other)
            until = time.monotonic() + self._timeout_s
            shadowed = await self.served.runner.predict(rows, deadline=until, version=version, is_low_priority=True)
            named = other.card.classes
            check(shadowed, len(labels), named)
            return compare_classes(labels, [named[place] for place in shadowed.values.argmax(axis=1)])

        self.served.traffic.shadow(answer.model.version, agreement)

    def _edition(self, version: str | None) -> ImageModelVersion:
        if self.served.edition is None:
            return ImageModelVersion(self.served.card(), self.served.decode, self.served.fit)
        return self.served.edition(version)

    async def _decode_all(
        self, images: Sequence[bytes | Pixels], edition: ImageModelVersion, until: float
    ) -> list[Pixels | InputError]:
        if len(images) == 1:
            return [await self._decode_or_fault(images[0], edition, until)]
        return list(await asyncio.gather(*(self._decode_or_fault(image, edition, until) for image in images)))

    async def _decode_or_fault(
        self, image: bytes | Pixels, edition: ImageModelVersion, until: float
    ) -> Pixels | InputError:
        try:
            return await self._decode(image, edition, until)
        except InputError as error:
            return error

    async def _decode(self, image: bytes | Pixels, edition: ImageModelVersion, until: float) -> Pixels:
        if isinstance(image, bytes) and not image:
            raise FieldFault("the file is empty", location=(), value_type="file")
        if self._waiting >= self._max_waiting:
            raise Overloaded(f"{self._waiting} images wait to be decoded")
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._decode_threads, thread_name_prefix="decode")
        self._waiting += 1
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                loop = asyncio.get_running_loop()
                if isinstance(image, bytes):
                    return await loop.run_in_executor(self._threads, edition.decode, image)
                return await loop.run_in_executor(self._threads, edition.fit, image)
        except TimeoutError as error:
            raise DeadlineExceeded("the image was not decoded in time") from error
        finally:
            self._waiting -= 1


def _decoded(images: Sequence[bytes | Pixels], edition: ImageModelVersion) -> Pixels:
    """The images that can be read, as another version takes them: (N, H, W, 3)."""
    rows: list[Pixels] = []
    for image in images:
        with contextlib.suppress(InputError):
            rows.append(edition.decode(image) if isinstance(image, bytes) else edition.fit(image))
    return np.stack(rows)


def _located(fault: object) -> InputError:
    if not isinstance(fault, InputError):
        raise PredictionFailed("no answer for one image")
    fault.location = fault.location or ("body", "image")
    return fault

"""Classifies images: decodes them in threads, asks the runner, ranks the classes. Knows no HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from models.errors import DeadlineExceeded, InputError, InvalidInput, Overloaded, PlatformError, PredictionFailed
from serving.calls.deadline import deadline, elapsed_ms
from serving.errors import FieldFault, detail_of, kind_of, report
from serving.runners import ModelRef, RowsAnswer
from serving.schemas.fields import ModelUsed
from serving.schemas.images import (
    BatchClassification,
    Classification,
    ClassifyOptions,
    ClassPrediction,
    ImageFailure,
    ImageResult,
    ItemProblem,
)
from serving.served import ServedImages
from serving.settings import Settings

Pixels = NDArray[np.uint8]


class ImageCalls:
    """`classify_image` and `classify_images`. Owns the threads that decode; `close` ends them."""

    def __init__(self, served: ServedImages, settings: Settings) -> None:
        self.served = served
        self.max_images = settings.max_batch_images
        self._timeout_s = settings.request_timeout_s
        self._max_waiting = settings.max_queue_rows
        self._waiting = 0
        self._decode_threads = settings.decode_threads
        self._threads: ThreadPoolExecutor | None = None

    async def classify(self, image: bytes, options: ClassifyOptions | None = None) -> Classification:
        """The classes of one image file.

        Raises InvalidInput, UnsupportedMedia or InputTooLarge for the image, and what `RowsRunner.predict` raises.
        """
        options = options or ClassifyOptions()
        until = deadline(self._timeout_s)
        try:
            pixels = await self._decode(image, until)
        except InputError as error:
            error.location = error.location or ("body", "image")
            raise
        started = time.perf_counter()
        answer = await self.served.runner.predict(pixels[np.newaxis], deadline=until)
        ranked = self._rank(answer, 1, options)
        return Classification(
            model=model_used(answer.model), predictions=ranked[0], inference_time_ms=elapsed_ms(started)
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
        until = deadline(self._timeout_s)
        decoded = await asyncio.gather(*(self._decode_or_fault(image, until) for image in images))
        rows = [pixels for pixels in decoded if not isinstance(pixels, InputError)]
        started = time.perf_counter()
        answer = await self.served.runner.predict(np.stack(rows), deadline=until) if rows else None
        ranked = iter(self._rank(answer, len(rows), options) if answer else [])
        results = [
            ImageFailure(index=index, error=item_problem(pixels))
            if isinstance(pixels, InputError)
            else ImageResult(index=index, predictions=next(ranked))
            for index, pixels in enumerate(decoded)
        ]
        return BatchClassification(
            model=model_used(answer.model) if answer else None,
            results=results,
            inference_time_ms=elapsed_ms(started) if answer else 0.0,
        )

    async def probabilities(self, images: Sequence[bytes | Pixels], *, within: tuple[str | int, ...]) -> RowsAnswer:
        """The probability of each class, (N, classes), of files or of pixels (H, W, 3). One bad image fails them all.

        `within` is where the images are in the request. Raises as `classify` does.
        """
        if not 1 <= len(images) <= self.max_images:
            raise InvalidInput(f"1 to {self.max_images} images may be sent, not {len(images)}", location=within)
        until = deadline(self._timeout_s)
        decoded = await asyncio.gather(*(self._decode_or_fault(image, until) for image in images))
        for index, pixels in enumerate(decoded):
            if isinstance(pixels, InputError):
                pixels.location = (*within, index)
                raise pixels
        rows = np.stack([pixels for pixels in decoded if not isinstance(pixels, InputError)])
        answer = await self.served.runner.predict(rows, deadline=until)
        self._check(answer, len(rows))
        return answer

    def close(self) -> None:
        """End the threads. What waits for them is thrown away; a later call starts new ones."""
        threads, self._threads = self._threads, None
        if threads:
            threads.shutdown(wait=False, cancel_futures=True)

    async def _decode_or_fault(self, image: bytes | Pixels, until: float) -> Pixels | InputError:
        try:
            return await self._decode(image, until)
        except InputError as error:
            return error

    async def _decode(self, image: bytes | Pixels, until: float) -> Pixels:
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
                    return await loop.run_in_executor(self._threads, self.served.decode, image)
                return await loop.run_in_executor(self._threads, self.served.fit, image)
        except TimeoutError as error:
            raise DeadlineExceeded("the image was not decoded in time") from error
        finally:
            self._waiting -= 1

    def _rank(self, answer: RowsAnswer, rows: int, options: ClassifyOptions) -> list[list[ClassPrediction]]:
        classes = self._check(answer, rows)
        return [_ranked(row, classes, options) for row in answer.values]

    def _check(self, answer: RowsAnswer, rows: int) -> Sequence[str]:
        """The classes that the answer is about."""
        classes = self.served.card().classes
        if answer.values.shape != (rows, len(classes)):
            raise PredictionFailed(f"{answer.values.shape} values for {rows} images and {len(classes)} classes")
        if not np.isfinite(answer.values).all():
            raise PredictionFailed("the model answered NaN or infinity")
        return classes


def _ranked(row: NDArray[np.float32], classes: Sequence[str], options: ClassifyOptions) -> list[ClassPrediction]:
    best = np.argsort(-row, kind="stable")[: options.top_k].tolist()
    # bf16 shares can add up to a hair over one.
    shares = np.clip(row[best].astype(np.float64), 0.0, 1.0).round(6).tolist()
    return [
        ClassPrediction(class_id=class_id, label=classes[class_id], confidence=share)
        for class_id, share in zip(best, shares, strict=True)
        if share >= options.threshold
    ]


def model_used(model: ModelRef) -> ModelUsed:
    """The model that answered, as clients are told."""
    return ModelUsed(name=model.name, version=model.version)


def item_problem(error: PlatformError) -> ItemProblem:
    """Why one item of a batch failed, as clients are told. What is this service's fault is logged."""
    report(error)
    kind = kind_of(error)
    return ItemProblem(type=kind.type, title=kind.title, status=kind.status, detail=detail_of(error))

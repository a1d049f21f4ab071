"""Decodes image files in threads of the gateway, with a bound on how many wait.

Images of the priority `batch` wait here, not in front of the threads: another image waits for at most one of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager

import numpy as np

from models.errors import DeadlineExceeded, InputError
from serving.context import current_priority
from serving.errors.exceptions import FieldFault
from serving.kinds.image.version import ImageVersion, Pixels
from serving.shared_limit import SharedLimit

Image = bytes | Pixels


class DecodingPool:
    """Threads that decode images. They start with the first image."""

    def __init__(self, *, threads: int, max_waiting: int) -> None:
        self._number = threads
        self._images = SharedLimit(max_waiting, name="images that wait to be decoded")
        self._threads: ThreadPoolExecutor | None = None
        self._batch_images = asyncio.Semaphore(threads)

    async def decode(self, images: Sequence[Image], version: ImageVersion, until: float) -> list[Pixels | InputError]:
        """Return the pixels of each image for `version`, or its fault.

        `until` is in `time.monotonic()` seconds. Raises LimitReached and CallerLimitReached when too many images wait,
        and DeadlineExceeded.
        """
        if len(images) == 1:
            return [await self._decode_or_fault(images[0], version, until)]
        return list(await asyncio.gather(*(self._decode_or_fault(image, version, until) for image in images)))

    def close(self) -> None:
        """Stop the threads. Waiting images are dropped; a later image starts new threads."""
        threads, self._threads = self._threads, None
        if threads:
            threads.shutdown(wait=False, cancel_futures=True)

    async def _decode_or_fault(self, image: Image, version: ImageVersion, until: float) -> Pixels | InputError:
        try:
            return await self._decode(image, version, until)
        except InputError as error:
            return error

    async def _decode(self, image: Image, version: ImageVersion, until: float) -> Pixels:
        if isinstance(image, bytes) and not image:
            raise FieldFault("the file is empty", location=(), value_type="file")
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._number, thread_name_prefix="decode")
        with self._images.hold():
            try:
                async with asyncio.timeout(max(0.0, until - time.monotonic())), self._turn():
                    loop = asyncio.get_running_loop()
                    if isinstance(image, bytes):
                        return await loop.run_in_executor(self._threads, version.decode, image)
                    return await loop.run_in_executor(self._threads, version.fit, image)
            except TimeoutError as error:
                raise DeadlineExceeded("the image was not decoded in time") from error

    def _turn(self) -> AbstractAsyncContextManager[object]:
        return self._batch_images if current_priority() == "batch" else contextlib.nullcontext()


def decode_readable(images: Sequence[Image], version: ImageVersion) -> Pixels:
    """Return the images that `version` can read, (N, H, W, 3), in this thread."""
    rows: list[Pixels] = []
    for image in images:
        with contextlib.suppress(InputError):
            rows.append(version.decode(image) if isinstance(image, bytes) else version.fit(image))
    return np.stack(rows)

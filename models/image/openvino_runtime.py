"""OpenVINO without its telemetry, and an image classifier run by it.

Knows the intermediate representation in an artifact's folder, no torch.
"""

from __future__ import annotations

import importlib
import queue
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.adaptive_choice import AdaptiveChoice
from models.errors import ArtifactInvalid

if TYPE_CHECKING:
    from openvino import InferRequest

IR_FILE = "model.xml"

# Streams work apart, threads within one wait for each other at every layer, and for long where something else uses the
# cores too: on 2 cores that also decode, 2 streams of 1 thread answer 1.25 times what 1 of 2 does (f32 and bf16,
# `python -m tests.measure.streams`). With many cores, streams of one thread would make one image slow.
_MOST_STREAMS_OF_ONE = 4
_THREADS_PER_STREAM = 4
# An image that nobody else's goes with is a matter of latency: more threads than this gain nothing worth having.
_MOST_THREADS_OF_ONE = 8
# Larger batches leave the caches: EfficientNet-Lite0, 2 cores with avx512_bf16: 234 images/s by 4, 202 by 32.
_CHUNK_ROWS = 16


def import_openvino() -> ModuleType:
    """The module `openvino`. It reports every import over the network unless its telemetry package is out of sight."""
    if "openvino" not in sys.modules:
        # None makes the import fail, and OpenVINO falls back to a stub of its own.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 natively: about twice as fast as f32, and less exact."""
    return "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def streams_of(threads: int) -> int:
    """Into how many streams, each working on images of its own, `threads` are split."""
    return max(min(threads, _MOST_STREAMS_OF_ONE), threads // _THREADS_PER_STREAM)


class OpenVINOEngine:
    """uint8 (N, H, W, 3) to float32 (N, C) on the CPU. Safe from several threads; runs without the GIL.

    `embedding` is the number D of features that the graph gives beside, 0 for a graph without that output.

    A single image, while nobody else asks, is computed by one stream or by all threads together, whichever was quicker
    lately: all threads where the cores are idle, one stream where something else keeps one of them.
    """

    def __init__(self, folder: Path, *, threads: int, precision: str = "f32") -> None:
        """`precision` is "f32", "bf16", or "int8" of a graph quantised so, whose other arithmetic is float32.

        bf16 is f32 where the CPU does not multiply bf16 natively.
        """
        openvino = import_openvino()
        core = openvino.Core()
        if precision == "bf16" and not cpu_has_bf16():
            precision = "f32"
        streams = streams_of(threads)
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
        }
        try:
            model = core.read_model(folder / IR_FILE)
            compiled = core.compile_model(model, "CPU", options)
            wide = {**options, "INFERENCE_NUM_THREADS": min(threads, _MOST_THREADS_OF_ONE), "NUM_STREAMS": 1}
            alone = core.compile_model(model, "CPU", wide) if streams > 1 else None
        except RuntimeError as error:
            name = f"{folder.parent.name}:{folder.name}"
            raise ArtifactInvalid(f"{IR_FILE} of artifact '{name}' cannot be read by OpenVINO") from error
        self.description = f"OpenVINO {precision}, {threads} threads"
        self._classes = int(compiled.output(0).partial_shape[1].get_length())
        outputs = compiled.outputs
        self.embedding = int(outputs[1].partial_shape[1].get_length()) if len(outputs) > 1 else 0
        self._streams = streams
        self._idle: queue.LifoQueue[InferRequest] = queue.LifoQueue()
        for _ in range(streams + 1):
            self._idle.put(compiled.create_infer_request())
        self._wide: queue.LifoQueue[InferRequest] = queue.LifoQueue()
        if alone is not None:
            self._wide.put(alone.create_infer_request())
        self._quicker = AdaptiveChoice()

    def predict(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._answer(pixels, self._classes)

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The same and the embeddings behind, float32 (N, C + D)."""
        return self._answer(pixels, self._classes + self.embedding)

    def _answer(self, pixels: NDArray[np.uint8], width: int) -> NDArray[np.float32]:
        pixels = np.ascontiguousarray(pixels)
        answers = np.empty((len(pixels), width), np.float32)
        # With one stream there is one way.
        is_alone = len(pixels) == 1 and self._streams > 1 and self._idle.qsize() > self._streams
        if is_alone and self._answer_alone(pixels, answers):
            return answers
        # A batch is shared out between the streams that nobody else uses.
        requests = self._take(max(-(-len(pixels) // _CHUNK_ROWS), min(self._streams, len(pixels))))
        rows = min(_CHUNK_ROWS, -(-len(pixels) // len(requests)))
        try:
            for start in range(0, len(pixels), rows * len(requests)):
                self._run(requests, pixels, answers, start, rows)
        finally:
            for request in requests:
                request.wait()
                self._idle.put(request)
        return answers

    def _answer_alone(self, pixels: NDArray[np.uint8], answers: NDArray[np.float32]) -> bool:
        """Answer one image, the quicker way. False where somebody else was faster to take it."""
        way = self._quicker.choose()
        requests = (self._idle, self._wide)[way]
        try:
            request = requests.get_nowait()
        except queue.Empty:
            return False
        started = time.perf_counter()
        try:
            self._run([request], pixels, answers, 0, 1)
        finally:
            request.wait()
            requests.put(request)
        self._quicker.took(way, time.perf_counter() - started)
        return True

    def _take(self, wanted: int) -> list[InferRequest]:
        """One request, waiting for it, and up to `wanted` if more are idle: waiting for a second could deadlock."""
        requests = [self._idle.get()]
        while len(requests) < wanted:
            try:
                requests.append(self._idle.get_nowait())
            except queue.Empty:
                break
        return requests

    def _run(
        self,
        requests: list[InferRequest],
        pixels: NDArray[np.uint8],
        answers: NDArray[np.float32],
        start: int,
        rows: int,
    ) -> None:
        parts = []
        for index, request in enumerate(requests):
            part = slice(start + index * rows, min(start + (index + 1) * rows, len(pixels)))
            if part.start < len(pixels):
                request.start_async({0: pixels[part]}, share_inputs=True)
                parts.append((request, part))
        for request, part in parts:
            request.wait()
            answers[part, : self._classes] = request.get_output_tensor(0).data
            if answers.shape[1] > self._classes:
                answers[part, self._classes :] = request.get_output_tensor(1).data

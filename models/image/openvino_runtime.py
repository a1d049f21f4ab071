"""An image classifier on OpenVINO, and the import of OpenVINO without its telemetry."""

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

# Streams are independent; the threads of one stream synchronise at every layer, and wait long when other work uses the
# cores: on 2 cores that also decode, 2 streams of 1 thread have 1.25 times the throughput of 1 stream of 2 threads (f32
# and bf16, `python -m tests.measure.inference_streams`). With many cores, streams of one thread would be slow for a
# single image.
_MAX_SINGLE_THREAD_STREAMS = 4
_THREADS_PER_STREAM = 4
# Latency matters for a single image; more threads than this do not reduce it noticeably.
_MAX_LATENCY_THREADS = 8
# Larger batches exceed the caches: EfficientNet-Lite0 on 2 cores with avx512_bf16: 234 images/s by 4, 202 by 32.
_CHUNK_ROWS = 16


def import_openvino() -> ModuleType:
    """Import `openvino` without its telemetry package, which would report every import over the network."""
    if "openvino" not in sys.modules:
        # None makes the import fail, and OpenVINO falls back to its stub.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")


def cpu_has_bf16() -> bool:
    """Return whether the CPU multiplies bf16 natively: about twice as fast as f32, and less precise."""
    return "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def stream_count(threads: int) -> int:
    """Return the number of independent streams for `threads`."""
    return max(min(threads, _MAX_SINGLE_THREAD_STREAMS), threads // _THREADS_PER_STREAM)


class OpenVINOEngine:
    """uint8 (N, H, W, 3) to float32 (N, C) on the CPU. Thread-safe; runs without the GIL.

    `embedding_size` is the number D of features of the second output, 0 for a graph without one.

    When no other request is running, a single image is computed by one stream or by all threads, whichever was faster
    recently: all threads when the cores are idle, one stream when other work occupies a core.
    """

    def __init__(self, folder: Path, *, threads: int, precision: str = "f32") -> None:
        """Compile the graph in `folder`. `precision` is "f32", "bf16", or "int8" for a quantised graph.

        bf16 falls back to f32 when the CPU does not multiply bf16 natively. The rest of an int8 graph is float32.
        """
        openvino = import_openvino()
        core = openvino.Core()
        if precision == "bf16" and not cpu_has_bf16():
            precision = "f32"
        streams = stream_count(threads)
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
        }
        try:
            model = core.read_model(folder / IR_FILE)
            compiled = core.compile_model(model, "CPU", options)
            latency_options = {**options, "INFERENCE_NUM_THREADS": min(threads, _MAX_LATENCY_THREADS), "NUM_STREAMS": 1}
            latency_model = core.compile_model(model, "CPU", latency_options) if streams > 1 else None
        except RuntimeError as error:
            name = f"{folder.parent.name}:{folder.name}"
            raise ArtifactInvalid(f"{IR_FILE} of artifact '{name}' cannot be read by OpenVINO") from error
        self.description = f"OpenVINO {precision}, {threads} threads"
        self._classes = int(compiled.output(0).partial_shape[1].get_length())
        outputs = compiled.outputs
        self.embedding_size = int(outputs[1].partial_shape[1].get_length()) if len(outputs) > 1 else 0
        self._streams = streams
        self._idle: queue.LifoQueue[InferRequest] = queue.LifoQueue()
        for _ in range(streams + 1):
            self._idle.put(compiled.create_infer_request())
        self._latency_requests: queue.LifoQueue[InferRequest] = queue.LifoQueue()
        if latency_model is not None:
            self._latency_requests.put(latency_model.create_infer_request())
        self._choice = AdaptiveChoice()

    def predict(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._predict(pixels, self._classes)

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return probabilities and embeddings, float32 (N, C + D)."""
        return self._predict(pixels, self._classes + self.embedding_size)

    def _predict(self, pixels: NDArray[np.uint8], width: int) -> NDArray[np.float32]:
        pixels = np.ascontiguousarray(pixels)
        outputs = np.empty((len(pixels), width), np.float32)
        # With one stream there is no choice.
        is_single = len(pixels) == 1 and self._streams > 1 and self._idle.qsize() > self._streams
        if is_single and self._predict_single(pixels, outputs):
            return outputs
        # Split a batch over the idle streams.
        requests = self._acquire(max(-(-len(pixels) // _CHUNK_ROWS), min(self._streams, len(pixels))))
        rows = min(_CHUNK_ROWS, -(-len(pixels) // len(requests)))
        try:
            for start in range(0, len(pixels), rows * len(requests)):
                self._run(requests, pixels, outputs, start, rows)
        finally:
            for request in requests:
                request.wait()
                self._idle.put(request)
        return outputs

    def _predict_single(self, pixels: NDArray[np.uint8], outputs: NDArray[np.float32]) -> bool:
        """Compute one image with the faster option. Return False when its infer request is in use."""
        option = self._choice.choose()
        requests = (self._idle, self._latency_requests)[option]
        try:
            request = requests.get_nowait()
        except queue.Empty:
            return False
        started = time.perf_counter()
        try:
            self._run([request], pixels, outputs, 0, 1)
        finally:
            request.wait()
            requests.put(request)
        self._choice.record(option, time.perf_counter() - started)
        return True

    def _acquire(self, count: int) -> list[InferRequest]:
        """Wait for one infer request and take up to `count` idle ones. Waiting for a second one could deadlock."""
        requests = [self._idle.get()]
        while len(requests) < count:
            try:
                requests.append(self._idle.get_nowait())
            except queue.Empty:
                break
        return requests

    def _run(
        self,
        requests: list[InferRequest],
        pixels: NDArray[np.uint8],
        outputs: NDArray[np.float32],
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
            outputs[part, : self._classes] = request.get_output_tensor(0).data
            if outputs.shape[1] > self._classes:
                outputs[part, self._classes :] = request.get_output_tensor(1).data

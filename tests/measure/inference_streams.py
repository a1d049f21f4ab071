"""Measure images per second by OpenVINO streams, threads and calls: `python -m tests.measure.inference_streams`

Two threads of another process decode images of 500x375, at most 16 in advance. Concurrent calls run inference on the
decoded images. The configurations alternate in rounds.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import queue
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Semaphore
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models.image.openvino_runtime import IR_FILE, cpu_has_bf16, import_openvino
from models.image.preprocessing import ImageDecoder, Pixels, read_preprocessing
from models.store.artifacts import find
from tests.live.server import ROOT

OUTSTANDING = 16
# Streams, total threads, concurrent calls.
WAYS = ((1, 2, 1), (1, 2, 2), (2, 2, 2), (2, 2, 3), (1, 1, 1))


def main(options: argparse.Namespace) -> None:
    """Print a line per configuration and precision."""
    folder = find(options.model).folder
    context = multiprocessing.get_context("spawn")
    decoded: Queue[Pixels] = context.Queue()
    free = context.Semaphore(OUTSTANDING)
    child = context.Process(target=decode, args=(folder, decoded, free), daemon=True)
    child.start()
    core = import_openvino().Core()
    for precision in ("f32", "bf16") if cpu_has_bf16() else ("f32",):
        compiled = [_compiled(core, folder, precision, streams, threads) for streams, threads, _ in WAYS]
        rates: list[list[float]] = [[] for _ in WAYS]
        for _ in range(options.rounds):
            for place, (_, _, calls) in enumerate(WAYS):
                rates[place].append(_rate(compiled[place], calls, options.seconds, decoded, free))
        for (streams, threads, calls), samples in zip(WAYS, rates, strict=True):
            name = f"{streams} streams, {threads} threads, {calls} concurrent calls"
            print(
                f"{precision:4} {name}: {statistics.median(samples):.1f} images/s, maximum {max(samples):.1f}",
                flush=True,
            )
    child.terminate()


def decode(folder: Path, decoded: Queue[Pixels], free: Semaphore) -> None:
    """Decode images in two threads, with at most sixteen in the queue."""
    decoder, file = ImageDecoder(read_preprocessing(folder)), io.BytesIO()
    Image.open(ROOT / "docs" / "images" / "coffee.jpg").resize((500, 375)).save(file, "JPEG", quality=90)

    def work() -> None:
        while True:
            free.acquire()
            decoded.put(decoder.decode(file.getvalue()))

    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            pool.submit(work)


def _compiled(core: Any, folder: Path, precision: str, streams: int, threads: int) -> Any:  # Any: OpenVINO is untyped
    options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": streams}
    return core.compile_model(core.read_model(folder / IR_FILE), "CPU", options)


def _rate(compiled: Any, calls: int, seconds: float, decoded: Queue[Pixels], free: Semaphore) -> float:
    until = time.perf_counter() + seconds

    def answer() -> int:
        request, answered = compiled.create_infer_request(), 0
        while time.perf_counter() < until:
            batch = _batch(decoded)
            request.infer({0: np.stack(batch)})
            answered += len(batch)
            for _ in batch:
                free.release()
        return answered

    with ThreadPoolExecutor(calls) as pool:
        started = time.perf_counter()
        answered = sum(each.result() for each in [pool.submit(answer) for _ in range(calls)])
    return answered / (time.perf_counter() - started)


_TAKING = threading.Lock()


def _batch(decoded: Queue[Pixels]) -> list[Pixels]:
    """Return the decoded images, at least one and at most `OUTSTANDING`."""
    with _TAKING:
        batch = [decoded.get()]
        while len(batch) < OUTSTANDING:
            try:
                batch.append(decoded.get_nowait())
            except queue.Empty:
                break
        return batch


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="image:latest", help="tag of the artifact")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=2.0)
    main(parser.parse_args())

"""Decoding and inference in a loop on two threads without a server: the upper limit of two cores.

Prints images per second as one line of JSON. Reads BENCH_ARTIFACT. Arguments: seconds, then JPEG files.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks.peers.workloads.image import OpenVinoImages, decode

_THREADS = 2


def run(folder: Path, images: list[bytes], seconds: float, *, batch: int) -> float:
    """Return images per second with `batch` images per inference call."""
    model = OpenVinoImages(folder, streams=_THREADS, threads=_THREADS)
    counts = [0] * _THREADS

    def work(thread: int, until: float) -> None:
        request = model.compiled.create_infer_request()
        position = thread
        while time.perf_counter() < until:
            encoded = [images[(position + step) % len(images)] for step in range(batch)]
            pixels = np.stack([decode(image, model.preprocessing) for image in encoded])
            request.infer([pixels], share_inputs=True)
            counts[thread] += batch
            position += batch

    for length in (0.5, seconds):
        counts[:] = [0] * _THREADS
        started = time.perf_counter()
        threads = [threading.Thread(target=work, args=(number, started + length)) for number in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        elapsed = time.perf_counter() - started
    return sum(counts) / elapsed


if __name__ == "__main__":
    files = [Path(name).read_bytes() for name in sys.argv[2:]]
    duration = float(sys.argv[1])
    rates = {size: run(Path(os.environ["BENCH_ARTIFACT"]), files, duration / 2, batch=size) for size in (1, 8)}
    print(json.dumps({"images_per_s": max(rates.values()), "by_batch": rates}))

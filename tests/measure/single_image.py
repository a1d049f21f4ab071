"""Measure single images with one stream, all threads and the adaptive choice: `python -m tests.measure.single_image`

`--busy N` starts N other processes that use a core each. Prints median milliseconds over alternating rounds.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

import numpy as np

from models.adaptive_choice import AdaptiveChoice
from models.cores import usable_cores
from models.image.openvino_runtime import OpenVINOEngine
from models.store.artifacts import find
from tests.models.fixed_choice import FixedChoice


def main(options: argparse.Namespace) -> None:
    """Print a line per way of execution."""
    engine = OpenVINOEngine(find(options.model).folder, threads=usable_cores())
    pixels = np.random.default_rng(0).integers(0, 256, (1, options.side, options.side, 3), np.uint8)
    ways = {"one stream": FixedChoice(0), "all threads": FixedChoice(1), "the quicker": AdaptiveChoice()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(options.busy)]
    try:
        for _ in range(options.rounds):
            for name, way in ways.items():
                engine._choice = way
                for _ in range(options.calls):
                    started = time.perf_counter()
                    engine.predict(pixels)
                    seconds[name].append(time.perf_counter() - started)
    finally:
        for process in busy:
            process.kill()
    for name, times_s in seconds.items():
        print(f"{name:12} {1e3 * statistics.median(times_s):6.2f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="image")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--calls", type=int, default=40)
    main(parser.parse_args())

"""Loads the workload that the environment variables describe.

BENCH_SCENARIO   overhead, tabular, image or recommender
BENCH_ARTIFACT   folder of the artifact
BENCH_RUNTIME    `artifact` (the files that the service uses) or `baseline` (scikit-learn, torch eager fp32)
BENCH_MODEL      baseline: file of the scikit-learn model, or name of the torch model
"""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.peers.workloads.base import Workload


def load_workload() -> Workload:
    """Load the workload. Imports only the libraries that it needs."""
    scenario = os.environ["BENCH_SCENARIO"]
    folder = Path(os.environ.get("BENCH_ARTIFACT", "."))
    is_baseline = os.environ.get("BENCH_RUNTIME", "artifact") == "baseline"
    model = os.environ.get("BENCH_MODEL", "")
    if scenario == "overhead":
        from benchmarks.peers.workloads.overhead import Overhead

        return Overhead()
    if scenario == "tabular":
        from benchmarks.peers.workloads import tabular

        return tabular.SklearnTabular(Path(model)) if is_baseline else tabular.OnnxTabular(folder)
    if scenario == "image":
        from benchmarks.peers.workloads import image

        return image.TorchImages(folder, model) if is_baseline else image.OpenVinoImages(folder)
    from benchmarks.peers.workloads.recommender import Factors

    return Factors(folder)


def max_batch_size() -> int:
    """Return the maximum batch size of peers with batching."""
    return int(os.environ.get("BENCH_MAX_BATCH", "64"))


def port() -> int:
    """Return the port of the server."""
    return int(os.environ["PORT"])

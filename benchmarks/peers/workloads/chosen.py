"""The workload that the environment asks for.

BENCH_SCENARIO   overhead, tabular, image or recommender
BENCH_ARTIFACT   folder of the artifact
BENCH_RUNTIME    `artifact` (the file that the service serves) or `plain` (scikit-learn, torch eager fp32)
BENCH_MODEL      file of the plain model (scikit-learn), or its name (torch)
"""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.peers.workloads.base import Workload


def chosen_workload() -> Workload:
    """Load it. Only the libraries that it needs are imported."""
    scenario = os.environ["BENCH_SCENARIO"]
    folder = Path(os.environ.get("BENCH_ARTIFACT", "."))
    is_plain = os.environ.get("BENCH_RUNTIME", "artifact") == "plain"
    model = os.environ.get("BENCH_MODEL", "")
    if scenario == "overhead":
        from benchmarks.peers.workloads.overhead import Overhead

        return Overhead()
    if scenario == "tabular":
        from benchmarks.peers.workloads import tabular

        return tabular.PlainTabular(Path(model)) if is_plain else tabular.OnnxTabular(folder)
    if scenario == "image":
        from benchmarks.peers.workloads import image

        return image.TorchImages(folder, model) if is_plain else image.OpenVinoImages(folder)
    from benchmarks.peers.workloads.recommender import Factors

    return Factors(folder)


def max_batch() -> int:
    """The largest batch, for peers that batch."""
    return int(os.environ.get("BENCH_MAX_BATCH", "64"))


def port() -> int:
    """Where to listen."""
    return int(os.environ["PORT"])

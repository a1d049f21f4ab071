"""The memory of a runner's process after many loads and unloads of one model.

    BENTOML_HOME=... python -m tests.measure.unload_memory image:latest wine:latest --times 50

Loads and unloads each artifact in a process of its own, as a runner does, and prints its memory after the first and
after the last unload. The first one leaves the runtime's own libraries and thread pools in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from models.store.artifacts import find, size_bytes
from serving.bento.hosting import ModelHost
from serving.kinds.registry import KINDS, ServiceSettings
from serving.process.startup import return_freed_memory
from serving.settings.model_list import ModelEntry
from serving.versions.state import DeploymentState


def main() -> None:
    """Measure each artifact."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tags", nargs="+")
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--child", action="store_true")
    options = parser.parse_args()
    if options.child:
        asyncio.run(_measure(options.tags[0], options.times))
        return
    print("| artifact | files, MB | loaded, MiB | after 1 unload, MiB | after all, MiB | change |")
    print("|---|---|---|---|---|---|", flush=True)
    for tag in options.tags:
        command = [sys.executable, "-m", "tests.measure.unload_memory", "--child", tag, "--times", str(options.times)]
        subprocess.run(command, check=True)


async def _measure(tag: str, times: int) -> None:
    return_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        host = ModelHost(
            KINDS,
            ServiceSettings(feedback_url=f"sqlite:///{folder}/feedback.db"),
            DeploymentState(Path(folder)),
            source=Path(folder),
            name="measured",
            threads=2,
            may_block=True,
        )
        models = host.hosted({})
        spec = ModelEntry(name="measured", artifact=tag).spec()
        sizes, loaded = [], 0.0
        for _ in range(times + 1):
            await models.load("measured", spec)
            loaded = _memory()
            await models.unload("measured")
            sizes.append(_memory())
    files = size_bytes(find(tag)) / 1e6
    change = 100 * (sizes[-1] / sizes[0] - 1)
    print(f"| {tag} | {files:.0f} | {loaded:.0f} | {sizes[0]:.0f} | {sizes[-1]:.0f} | {change:+.1f} % |", flush=True)


def _memory() -> float:
    return float(psutil.Process().memory_info().rss) / (1 << 20)


if __name__ == "__main__":
    main()

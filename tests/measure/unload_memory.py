"""The memory of a runner's process after many loads and unloads of one model.

    python -m tests.measure.unload_memory --make                            # artifacts of 100 MB, one for each runtime
    BENTOML_HOME=... python -m tests.measure.unload_memory image wine --times 50
    BENTOML_HOME=... python -m tests.measure.unload_memory image,device=torch:cpu

Loads and unloads each artifact in a process of its own, as a runner does, and prints its resident memory before the
first load, while it is loaded, and after the first and the last unload. The first load leaves the runtime's own
libraries and thread pools in memory. A tag may be followed by settings of its kind.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]

from models.store.artifacts import find, size_bytes
from serving.bento.hosting import ModelHost
from serving.kinds.registry import KINDS, ServiceSettings
from serving.process.startup import share_one_heap
from serving.settings.model_list import ModelEntry
from serving.versions.state import DeploymentState
from tests.measure.large_models import MAKERS

_HEADER: Final = (
    "| artifact | files, MB | before, MiB | loaded, MiB: first | last | after 1 unload, MiB | after all, MiB | change |"
)
# The runtime for GPUs, measured on the CPU.
_ON_TORCH: Final = "large-image,device=torch:cpu"


def main() -> None:
    """Measure each artifact."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tags", nargs="*", help="the large ones when empty")
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--make", action="store_true", help="make large artifacts in a temporary store")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    tags = options.tags or [*MAKERS, _ON_TORCH]
    if options.child:
        asyncio.run(_measure(tags[0], options.times))
    elif options.make:
        with tempfile.TemporaryDirectory() as home:
            os.environ["BENTOML_HOME"] = home
            names = dict.fromkeys(tag.split(",")[0] for tag in tags)
            command = [sys.executable, "-m", "tests.measure.large_models", *names]
            subprocess.run(command, check=True, stdout=sys.stderr)
            _table(tags, options.times)
    else:
        _table(tags, options.times)


def _table(tags: list[str], times: int) -> None:
    print(_HEADER)
    print("|---|" + "---:|" * (_HEADER.count("|") - 2), flush=True)
    for tag in tags:
        command = [sys.executable, "-m", "tests.measure.unload_memory", "--child", tag, "--times", str(times)]
        subprocess.run(command, check=True)


async def _measure(tag: str, times: int) -> None:
    share_one_heap()
    artifact, *options = tag.split(",")
    spec = ModelEntry(
        name="measured", artifact=artifact, options=dict(option.split("=", 1) for option in options)
    ).spec()
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
        before = _memory()
        loaded, unloaded = [], []
        for _ in range(times):
            await models.load("measured", spec)
            loaded.append(_memory())
            await models.unload("measured")
            unloaded.append(_memory())
    files = size_bytes(find(artifact)) / 1e6
    change = 100 * (unloaded[-1] / unloaded[0] - 1)
    figures = (before, loaded[0], loaded[-1], unloaded[0], unloaded[-1])
    print(f"| {tag} | {files:.0f} | {' | '.join(f'{each:.0f}' for each in figures)} | {change:+.1f} % |", flush=True)


def _memory() -> float:
    return float(psutil.Process().memory_info().rss) / (1 << 20)


if __name__ == "__main__":
    main()

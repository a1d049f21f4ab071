"""Measure a start and a replacement with the fork server and without it: `python -m tests.measure.start --rounds 3`

Serves the default models of the model store. A start is over when `/readyz` answers 200, a replacement when a killed
runner of tables answers again. The processor time is that of all processes, the memory is private to each (USS).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psutil  # type: ignore[import-untyped]

from tests.live.server import BENTOML_SERVE, Server, serving
from tests.live.test_runner_loss import tabular_example

# `bentoml serve` without a fork server.
_INTERPRETERS: Final = """
import sys
from bentoml_cli.cli import cli
from serving.process.fork_server import ForkServer
ForkServer.start = classmethod(lambda cls: None)
sys.argv[0] = "bentoml"
cli(["serve", *sys.argv[1:]])
"""
PROGRAMS: Final = {"interpreters": (sys.executable, "-c", _INTERPRETERS), "fork server": BENTOML_SERVE}
_RUNNER, _PATH = "TabularRunner", "/v1/tabular/predict"


def measure(program: Sequence[str], home: Path) -> tuple[float, ...]:
    """Return seconds and processor seconds until ready, private megabytes, and seconds until a replacement answers."""
    started = time.monotonic()
    with serving("service:Gateway", program=program, env={"BENTOML_HOME": str(home)}) as server:
        ready_s = time.monotonic() - started
        parent = psutil.Process(server.process.pid)
        processes = [parent, *parent.children(recursive=True)]
        cpu_s = sum(sum(process.cpu_times()[:2]) for process in processes)
        private = sum(process.memory_full_info().uss for process in processes) / 2**20
        return ready_s, cpu_s, private, _replacement_s(server)


def _replacement_s(server: Server) -> float:
    body = {"instances": [tabular_example(server)]}
    assert server.post(_PATH, json=body).status_code == 200
    before = server.worker(_RUNNER)
    before.kill()
    killed = time.monotonic()
    while not _is_replaced(server, before.pid) or server.post(_PATH, json=body).status_code != 200:
        time.sleep(0.01)
    return time.monotonic() - killed


def _is_replaced(server: Server, pid: int) -> bool:
    try:
        return bool(server.worker(_RUNNER).pid != pid)
    except AssertionError:
        return False


def main(options: argparse.Namespace) -> None:
    """Print the medians of both programs, which take turns."""
    results: dict[str, list[tuple[float, ...]]] = {name: [] for name in PROGRAMS}
    for _ in range(options.rounds):
        for name, program in PROGRAMS.items():
            results[name].append(measure(program, options.home))
    for name, rounds in results.items():
        ready_s, cpu_s, private_mb, replaced_s = (statistics.median(each) for each in zip(*rounds, strict=True))
        print(f"{name:13} ready {ready_s:.2f} s, processors {cpu_s:.2f} s, {private_mb:.0f} MB, "
              f"a killed runner answers after {replaced_s:.2f} s")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--home", type=Path, default=Path.home() / "bentoml", help="folder of the model store")
    parser.add_argument("--rounds", type=int, default=3)
    main(parser.parse_args())

"""Measure the memory of a second process of a recommender: `python -m tests.measure.replica_memory --items 1000000`

A folder in place of `--items` is an artifact of the model store. Each process loads it as a runner does and answers
requests of many users. The proportional size (PSS) counts a shared page in parts, so the second process costs what the
sum of both grows by.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.artifacts import synthetic_catalogue

USERS: Final = 500
_REPLICA: Final = """
import sys
from pathlib import Path
from models.recommender.online.dispatcher import Dispatcher
from models.recommender.online.recent_events import RecentEvents
from models.store.artifacts import read_artifact
from serving.process.startup import release_memory, share_one_heap
share_one_heap()
predictor = Dispatcher.load(read_artifact(Path(sys.argv[1])), recent=RecentEvents())
predictor.warm_up()
release_memory()
for user in range(int(sys.argv[2])):
    predictor.answer([{"user_id": str(user), "n": 10}])
print("ready", flush=True)
sys.stdin.read()
"""


def sizes_mb(process: int) -> dict[str, float]:
    """Return the resident, the proportional and the private size of a process."""
    sizes = {"Rss": 0.0, "Pss": 0.0, "Private": 0.0}
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split(":")
        if name.split("_")[0] in sizes and name in ("Rss", "Pss", "Private_Clean", "Private_Dirty"):
            sizes[name.split("_")[0]] += int(value.split()[0]) / 1024
    return sizes


def started(folder: Path, users: int) -> subprocess.Popen[str]:
    """Return a process that has loaded the artifact and answered."""
    command = [sys.executable, "-c", _REPLICA, str(folder), str(users)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", "the artifact could not be loaded"
    return process


def main(options: argparse.Namespace) -> None:
    """Print the sizes of one process, and of two."""
    folder = options.folder or synthetic_catalogue(options.items)
    first = started(folder, options.users)
    alone = sizes_mb(first.pid)
    second = started(folder, options.users)
    try:
        both = [sizes_mb(process.pid) for process in (first, second)]
        more = sum(each["Pss"] for each in both) - alone["Pss"]
        print(f"one process: resident {alone['Rss']:.0f} MB, proportional {alone['Pss']:.0f} MB")
        for name, sizes in zip(("first of two", "second"), both, strict=True):
            print(f"{name}: " + ", ".join(f"{kind} {size:.0f} MB" for kind, size in sizes.items()))
        print(f"the second process takes {more:.0f} MB more, {more / alone['Pss']:.0%} of the first")
    finally:
        for process in (first, second):
            process.kill()
            process.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--items", type=int, default=1_000_000, help="items and users of a synthetic artifact")
    parser.add_argument("--users", type=int, default=USERS, help="how many users each process answers")
    main(parser.parse_args())

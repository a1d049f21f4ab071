"""Measure size, memory and latency of a recommender with a million users and items: `python -m tests.measure.catalog`

The artifact is synthetic, as in the benchmarks: random vectors of 64 numbers, and rows of seen items.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped]

from benchmarks.artifacts import synthetic_catalogue
from models.recommender.online.dispatcher import Dispatcher
from models.recommender.online.recent_events import RecentEvents
from models.store.artifacts import read_artifact
from tests.measure.timing import median_ms

_MIB = 1 << 20


def main(items: int, repeats: int) -> None:
    """Print the sizes of the files, time and memory of loading, and milliseconds per query."""
    artifact = read_artifact(synthetic_catalogue(items))
    for part in ("users", "items", "titles", "interactions", "models"):
        size = _bytes(artifact.folder / part)
        print(f"{part:14} {size / _MIB:8.1f} MiB  {size / items:6.1f} bytes per item or user")
    before, started, worked = _memory(), time.perf_counter(), time.process_time()
    dispatcher = Dispatcher.load(artifact, recent=RecentEvents())
    dispatcher.warm_up()
    seconds, worked_s, after = time.perf_counter() - started, time.process_time() - worked, _memory()
    print(f"loaded and warm in {seconds:.1f} s, {worked_s:.1f} s of a processor")
    print(f"{after[0] - before[0]:.0f} MiB resident, {after[1] - before[1]:.0f} own")
    random = np.random.default_rng(0)
    users = [f"u{row}" for row in random.integers(0, len(dispatcher.recommender.contents.users), 64 * repeats)]
    for size in (1, 16, 64):
        print(f"{size:3} users: {median_ms(functools.partial(_recommend, dispatcher, users, size), repeats):7.1f} ms")
    questions: dict[str, Callable[[], object]] = {
        "a stranger": lambda: dispatcher.answer([{"user_id": "nobody", "n": 10}]),
        "a history": lambda: dispatcher.answer([{"user_id": "nobody", "n": 10, "history": ["i1", "i7"]}]),
        "similar items": lambda: dispatcher.answer([{"ask": "similar_items", "item_id": "i5", "n": 10}]),
        "a search": lambda: dispatcher.answer([{"ask": "items", "query": "itm 4711", "offset": 0, "limit": 10}]),
        "an item": lambda: dispatcher.answer([{"ask": "item", "item_id": "i5"}]),
    }
    for name, ask in questions.items():
        started = time.perf_counter()
        ask()
        first = 1e3 * (time.perf_counter() - started)
        print(f"{name:14} first {first:7.1f} ms, then {median_ms(ask, repeats):7.1f} ms")
    print(f"finally {_memory()[0] - before[0]:.0f} MiB resident, {_memory()[1] - before[1]:.0f} own")


def _recommend(dispatcher: Dispatcher, users: list[str], size: int) -> None:
    users[:] = users[size:] + users[:size]
    dispatcher.answer([{"user_id": user, "n": 10} for user in users[:size]])


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _memory() -> tuple[float, float]:
    """Return the resident memory in MiB, in total and without file-backed pages."""
    memory = psutil.Process().memory_info()
    return memory.rss / _MIB, (memory.rss - memory.shared) / _MIB


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    main(options.items, options.repeats)

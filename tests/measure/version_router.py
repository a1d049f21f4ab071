"""Measure the choice of a version per request: `python -m tests.measure.version_router`"""

from __future__ import annotations

import time
import timeit

from serving.access.guard import Guard
from serving.context import set_version_request
from serving.http.version_selection import version_request_of
from serving.versions.router import VersionRouter
from serving.versions.traffic_split import NO_SPLIT, TrafficSplit

CALLS = 100_000
SCOPE = {"client": ("127.0.0.1", 5000), "headers": [(f"x-header-{n}".encode(), b"value") for n in range(10)]}


def main() -> None:
    """Print microseconds per request."""
    guard, traffic = Guard(), VersionRouter("tabular")
    for name, split in (("no weights", NO_SPLIT), ("two weights", TrafficSplit({"a": 0.9, "b": 0.1}))):
        traffic.split = split

        def choose() -> None:
            set_version_request(version_request_of(SCOPE, guard))
            traffic.choose()

        best_s = min(timeit.repeat(choose, timer=time.process_time, number=CALLS, repeat=5))
        print(f"{name}: {1e6 * best_s / CALLS:.2f} us")


if __name__ == "__main__":
    main()

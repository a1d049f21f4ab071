"""What choosing a version costs a request: `python -m tests.measure.traffic`."""

from __future__ import annotations

import time
import timeit

from serving.asker import asker_of, set_asker
from serving.guard import Guard
from serving.plan import NO_PLAN, Plan
from serving.plans import KeptPlan
from serving.traffic import ModelTraffic

CALLS = 100_000
SCOPE = {"client": ("127.0.0.1", 5000), "headers": [(f"x-header-{n}".encode(), b"value") for n in range(10)]}


def main() -> None:
    """Print microseconds for each."""
    guard, traffic = Guard(), ModelTraffic("tabular")
    for name, plan in (("no weights", NO_PLAN), ("two weights", Plan({"a": 0.9, "b": 0.1}))):
        traffic.kept = KeptPlan(plan, "1")

        def choose() -> None:
            set_asker(asker_of(SCOPE, guard))
            traffic.choose()

        best_s = min(timeit.repeat(choose, timer=time.process_time, number=CALLS, repeat=5))
        print(f"{name}: {1e6 * best_s / CALLS:.2f} us")


if __name__ == "__main__":
    main()

"""`python -m tests.measure.products`: the best ten items of users, block by block and by the whole product.

Random vectors of 64 numbers; milliseconds per batch, the median of some batches.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from models.recommender.products import Hidden, best_products

_WIDTH = 64
_SEEN = 100


def main(items: int, repeats: int) -> None:
    """Print one line per size of batch."""
    random = np.random.default_rng(0)
    factors = random.normal(size=(items, _WIDTH)).astype(np.float32)
    biases = random.normal(scale=0.3, size=items).astype(np.float32)
    for users in (1, 4, 16, 64):
        vectors = random.normal(size=(users, _WIDTH)).astype(np.float32)
        seen = [random.integers(0, items, _SEEN) for _ in range(users)]

        def by_block(vectors: np.ndarray = vectors, seen: list[np.ndarray] = seen) -> None:
            best_products(vectors, factors, biases, 10, hidden=Hidden(seen))

        def whole(vectors: np.ndarray = vectors, seen: list[np.ndarray] = seen) -> None:
            scores = vectors @ factors.T + biases
            for row, own in zip(scores, seen, strict=True):
                row[own] = -np.inf
            np.argpartition(-scores, 10, axis=1)

        print(
            f"{users:3} users  by block {_median(by_block, repeats):7.1f} ms  whole {_median(whole, repeats):7.1f} ms"
        )


def _median(call: Callable[[], None], repeats: int) -> float:
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return 1e3 * statistics.median(seconds[1:])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    main(options.items, options.repeats)

"""Measure the ten best items of users, by block and by the complete product: `python -m tests.measure.top_k_products`

The vectors are random, with 64 numbers. Prints the median milliseconds per batch.
"""

from __future__ import annotations

import argparse

import numpy as np

from models.recommender.algorithms.top_k_products import ExcludedItems, product_top_k
from tests.measure.timing import median_ms

_WIDTH = 64
_SEEN = 100


def main(items: int, repeats: int) -> None:
    """Print a line per batch size."""
    random = np.random.default_rng(0)
    factors = random.normal(size=(items, _WIDTH)).astype(np.float32)
    biases = random.normal(scale=0.3, size=items).astype(np.float32)
    for users in (1, 4, 16, 64):
        vectors = random.normal(size=(users, _WIDTH)).astype(np.float32)
        seen = [random.integers(0, items, _SEEN) for _ in range(users)]

        def by_block(vectors: np.ndarray = vectors, seen: list[np.ndarray] = seen) -> None:
            product_top_k(vectors, factors, biases, 10, excluded=ExcludedItems(seen))

        def whole(vectors: np.ndarray = vectors, seen: list[np.ndarray] = seen) -> None:
            scores = vectors @ factors.T + biases
            for row, own in zip(scores, seen, strict=True):
                row[own] = -np.inf
            np.argpartition(-scores, 10, axis=1)

        ours_ms, whole_ms = median_ms(by_block, repeats), median_ms(whole, repeats)
        print(f"{users:3} users  by block {ours_ms:7.1f} ms  complete {whole_ms:7.1f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    main(options.items, options.repeats)

"""Measure approximate indexes: `python -m tests.measure.indexes --items 1000000 --libraries exact,usearch`

Each library serves 1,000 users, individually and in batches of 16, at the least effort with a recall of 0.99 of the
ten best items by inner product. Run it in a separate environment:

    python3.11 -m venv VENV && VENV/bin/pip install numpy==2.4.6 scipy faiss-cpu==1.15.1 hnswlib==0.8.0 usearch==2.26.6
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.recommender.algorithms.top_k_products import product_top_k

Matrix = NDArray[np.float32]
Find = Callable[[Matrix, int], NDArray[np.int64]]

_WIDTH = 64
_N = 10
_USERS = 1000
_RECALL = 0.99
_EFFORTS = (16, 32, 64, 128, 256, 512, 1024, 2048)
_ROW = "| {:22} | {:>9} | {:>7} | {:>6} | {:>6} | {:>9} | {:>12} |"


def main() -> None:
    """Print a row per library, and one for the exact product."""
    parser = argparse.ArgumentParser(description="Approximate indexes and the exact product.")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--libraries", default="exact,faiss-ivf,faiss-ivf-sq8,usearch,hnswlib")
    options = parser.parse_args()
    items, users = vectors(options.items)
    truth, _ = product_top_k(users, items[:, :-1], np.ascontiguousarray(items[:, -1]), _N)
    users = np.concatenate([users, np.ones((len(users), 1), np.float32)], axis=1)
    print(_ROW.format("index", "items", "build s", "effort", "recall", "one, ms", "16, ms each"))
    for name in options.libraries.split(","):
        started = time.perf_counter()
        built = _BUILDERS[name](items)
        first = next(built)  # a generator builds on the first `next`
        build_s = time.perf_counter() - started
        effort, find, recall = _least_effort(itertools.chain([first], built), users, truth)
        one, many = (_best_time(find, users, size) * 1e3 for size in (1, 16))
        cells = (f"{build_s:.1f}", effort, f"{recall:.4f}", f"{one:.2f}", f"{many:.2f}")
        print(_ROW.format(name, options.items, *cells), flush=True)


def _least_effort(
    built: Iterator[tuple[int, Find]], users: Matrix, truth: NDArray[np.int64]
) -> tuple[int, Find, float]:
    """Return the first effort with enough recall, or the last one."""
    for effort, find in built:
        result = (effort, find, _recall(find(users, _N), truth))
        if result[2] >= _RECALL:
            break
    return result


def vectors(items: int) -> tuple[Matrix, Matrix]:
    """Return items (M, 65), the bias last, and users (1000, 64), in clusters as in the benchmarks."""
    random = np.random.default_rng(11)
    centres = random.normal(size=(64, _WIDTH)).astype(np.float32)
    parts = []
    for count in (items, _USERS):
        noise = random.normal(scale=0.5, size=(count, _WIDTH)).astype(np.float32)
        parts.append(noise + centres[random.integers(0, len(centres), count)])
    biases = random.normal(scale=0.3, size=(items, 1)).astype(np.float32)
    return np.concatenate([parts[0], biases], axis=1), parts[1]


def _recall(nearest: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    return float(np.mean([len(set(a) & set(b)) / _N for a, b in zip(nearest.tolist(), truth.tolist(), strict=True)]))


def _best_time(find: Find, users: Matrix, size: int) -> float:
    """Return the median seconds per user over batches of `size`."""
    batches = [users[start : start + size] for start in range(0, min(len(users), 32 * size), size)]
    seconds = []
    for batch in batches:
        if len(batch) == size:
            started = time.perf_counter()
            find(batch, _N)
            seconds.append((time.perf_counter() - started) / size)
    return float(np.median(seconds))


def _exact(items: Matrix) -> Iterator[tuple[int, Find]]:
    factors, biases = items[:, :-1], np.ascontiguousarray(items[:, -1])
    factors = np.ascontiguousarray(factors)
    yield 0, lambda users, n: product_top_k(users[:, :-1], factors, biases, n)[0]


def _faiss_ivf(items: Matrix, kind: str = "Flat") -> Iterator[tuple[int, Find]]:
    import faiss

    lists = max(16, int(4 * np.sqrt(len(items))))
    index: Any = faiss.index_factory(items.shape[1], f"IVF{lists},{kind}", faiss.METRIC_INNER_PRODUCT)
    index.train(items[:: max(1, len(items) // (lists * 64))])
    index.add(items)

    def search(users: Matrix, n: int) -> NDArray[np.int64]:
        return np.asarray(index.search(users, n)[1])

    for effort in _EFFORTS:
        index.nprobe = min(effort, lists)
        yield effort, search


def _faiss_ivf_sq8(items: Matrix) -> Iterator[tuple[int, Find]]:
    import faiss

    lists = max(16, int(4 * np.sqrt(len(items))))
    base: Any = faiss.index_factory(items.shape[1], f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
    base.train(items[:: max(1, len(items) // (lists * 64))])
    base.add(items)

    def search(users: Matrix, n: int) -> NDArray[np.int64]:
        return _rescored(users, items, np.asarray(base.search(users, 4 * n)[1]), n)

    for effort in _EFFORTS:
        base.nprobe = min(effort, lists)
        yield effort, search


def _rescored(users: Matrix, items: Matrix, nearest: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    scores = np.einsum("nd,nkd->nk", users, items[nearest])
    order = np.argsort(-scores, axis=1, kind="stable")[:, :n]
    return np.take_along_axis(nearest, order, axis=1)


def _usearch(items: Matrix, dtype: str = "f32") -> Iterator[tuple[int, Find]]:
    from usearch.index import Index

    index = Index(ndim=items.shape[1] + 1, metric="ip", dtype=dtype, connectivity=16, expansion_add=128)
    index.add(np.arange(len(items), dtype=np.uint64), _same_length(items))

    def search(users: Matrix, n: int) -> NDArray[np.int64]:
        padded = np.concatenate([users, np.zeros((len(users), 1), np.float32)], axis=1)
        wanted = n if dtype == "f32" else 4 * n
        nearest = index.search(padded, wanted).keys.astype(np.int64).reshape(len(users), wanted)
        return nearest if dtype == "f32" else _rescored(users, items, nearest, n)

    for effort in _EFFORTS:
        index.expansion_search = effort
        yield effort, search


def _hnswlib(items: Matrix) -> Iterator[tuple[int, Find]]:
    import hnswlib

    index = hnswlib.Index(space="ip", dim=items.shape[1] + 1)
    index.init_index(max_elements=len(items), M=16, ef_construction=128)
    index.add_items(_same_length(items))

    def search(users: Matrix, n: int) -> NDArray[np.int64]:
        padded = np.concatenate([users, np.zeros((len(users), 1), np.float32)], axis=1)
        return np.asarray(index.knn_query(padded, n)[0], np.int64)

    for effort in _EFFORTS:
        index.set_ef(max(effort, _N))
        yield effort, search


def _same_length(items: Matrix) -> Matrix:
    """Add a coordinate that gives all vectors the same length, so that inner product and distance have the same order.

    Bachrach et al., "Speeding Up the Xbox Recommender System" (RecSys 2014).
    """
    squares = np.einsum("ij,ij->i", items, items)
    rest = np.sqrt(np.maximum(squares.max() - squares, 0))
    return np.concatenate([items, rest[:, None].astype(np.float32)], axis=1)


_BUILDERS: dict[str, Callable[[Matrix], Iterator[tuple[int, Find]]]] = {
    "exact": _exact,
    "faiss-ivf": _faiss_ivf,
    "faiss-ivf-sq8": _faiss_ivf_sq8,
    "usearch": _usearch,
    "usearch-bf16": lambda items: _usearch(items, "bf16"),
    "hnswlib": _hnswlib,
}


if __name__ == "__main__":
    main()

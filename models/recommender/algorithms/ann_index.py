"""An approximate index of the items of a factor model: inverted lists of faiss, read through a memory map.

Items are put into lists by nearness; a vector looks only into the lists nearest to it. How many that are is found by
measuring. The scores are exact, and so is the order of what is found; what may be missing is an item in another list.
The file holds numbers alone. faiss is asked for by nothing but this file, and only where there is an index.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.recommender.algorithms.top_k import NOTHING, Items, Scores
from models.recommender.algorithms.top_k_products import best_products

Matrix = NDArray[np.float32]

# Below this the exact product of a batch is as fast; see docs/recommender-scale.md.
APPROXIMATE_FROM = 200_000
RECALL = 0.99
N = 10
# Beyond that an index is no gain: the product looks at everything in order, which is what memory is good at.
_MAX_SHARE_OF_LISTS = 1 / 8
_POINTS_PER_LIST = 64


@dataclass(frozen=True, slots=True)
class Effort:
    """Lists looked into, and the recall of the ten best items that was measured with it."""

    probes: int
    recall: float


class ApproximateIndex:
    """Finds items by their product with a vector. Safe to ask from several threads at once."""

    def __init__(self, index: Any, effort: Effort) -> None:  # Any: faiss has no types
        self._index = index
        self.effort = effort

    @classmethod
    def build(cls, items: Matrix, biases: Matrix, users: Matrix, *, recall: float = RECALL) -> Self | None:
        """An index of `items` (M, d) that finds as much of the ten best for `users` (N, d), with the least effort.

        None when that takes too many of its lists. Raises ImportError without faiss.
        """
        import faiss

        vectors = _augmented(items, biases)
        lists = max(1, round(4 * math.sqrt(len(vectors))))
        # Any: what faiss makes has more attributes than its types tell.
        index: Any = faiss.index_factory(vectors.shape[1], f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
        index.cp.min_points_per_centroid = 1
        index.train(vectors[:: max(1, len(vectors) // (lists * _POINTS_PER_LIST))])
        index.add(vectors)
        truth, _ = best_products(users, items, biases, N)
        probes = 1
        while probes <= max(1, lists * _MAX_SHARE_OF_LISTS):
            found = cls(index, Effort(probes, 0.0))
            reached = _recall(found.find(users, N)[0], truth)
            if reached >= recall:
                return cls(index, Effort(probes, reached))
            probes *= 2
        return None

    @classmethod
    def open(cls, path: Path, effort: Effort) -> Self:
        """Open what `save` wrote, memory-mapped. Raises ImportError without faiss, ValueError for another file."""
        import faiss

        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise ValueError(f"{path.name} is no index") from error
        return cls(index, effort)

    def save(self, path: Path) -> None:
        import faiss

        faiss.write_index(self._index, str(path))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def find(self, vectors: Matrix, n: int) -> tuple[Items, Scores]:
        """About the best n items of each vector (N, d), best first; filled up with NOTHING and -inf."""
        import faiss

        asked = np.concatenate([vectors, np.ones((len(vectors), 1), np.float32)], axis=1)
        effort = faiss.SearchParametersIVF()
        effort.nprobe = self.effort.probes
        scores, items = self._index.search(np.ascontiguousarray(asked, np.float32), n, params=effort)
        scores[items == NOTHING] = -np.inf
        return np.asarray(items, np.int64), np.asarray(scores, np.float32)


def _augmented(items: Matrix, biases: Matrix) -> Matrix:
    """The bias as one more coordinate, which the vector that asks has 1 in."""
    return np.ascontiguousarray(np.concatenate([items, biases[:, None]], axis=1), np.float32)


def _recall(found: Items, truth: Items) -> float:
    shares = [
        len(set(a) & set(b)) / max(1, len(set(b) - {NOTHING}))
        for a, b in zip(found.tolist(), (row[row != NOTHING].tolist() for row in truth), strict=True)
    ]
    return float(np.mean(shares)) if shares else 0.0

"""The best n of each row of a product of two matrices, without ever holding the product. Knows numbers alone.

Blocks of items times all vectors stay in the processor's cache, and what is not above the n-th best found so far is
dropped there by one comparison. A million items x 64 for 16 users: 42 ms, where the whole product and a partition of
each row take 92 ms (one core of an AMD EPYC with AVX-512; `python -m tests.measure.products`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.cores import usable_cores
from models.recommender.algorithms.top_k import NOTHING, Items, Scores, best

Matrix = NDArray[np.float32]

# 8192 items x 16 users are 512 KiB, half of a core's second-level cache.
BLOCK_ITEMS = 8192
# Vectors that one pass over the items serves at most: beyond that the block of scores leaves the cache.
MAX_VECTORS = 64
# Cores that share the items of one question among them, and the blocks that make it worth handing a part over.
MAX_THREADS = 8
_LEAST_BLOCKS = 4
# Above this share of a block, picking survivors one by one costs more than a partition of the block.
_DENSE_SHARE = 1 / 16


class Hidden:
    """Items that may not be chosen, by row of the question. A row may name an item twice."""

    def __init__(self, per_row: Sequence[NDArray[np.integer]]) -> None:
        self._per_row = per_row
        counts = [len(each) for each in per_row]
        self.most = max(counts, default=0)
        """The largest number of items that are hidden from one row."""
        rows = np.repeat(np.arange(len(per_row)), counts)
        columns = np.concatenate([*per_row, np.empty(0, np.int64)]).astype(np.int64)
        order = np.argsort(columns, kind="stable")
        self._rows, self._columns = rows[order], columns[order]

    def within(self, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Columns, counted from `start`, and rows of what is hidden in a range of items."""
        low, high = np.searchsorted(self._columns, (start, stop))
        return self._columns[low:high] - start, self._rows[low:high]

    def of(self, rows: NDArray[np.int64]) -> Hidden:
        """What is hidden from some of the rows."""
        return Hidden([self._per_row[row] for row in rows.tolist()])

    def hide(self, items: Items, scores: Scores) -> None:
        """Set the scores of hidden items to -inf in a selection of items, (N, K) both, in place."""
        for row, columns in enumerate(self._per_row):
            if len(columns):
                scores[row, np.isin(items[row], columns)] = -np.inf


def best_products(
    vectors: Matrix,
    items: Matrix,
    biases: Matrix,
    n: int,
    *,
    hidden: Hidden | None = None,
    scales: Matrix | None = None,
) -> tuple[Items, Scores]:
    """What `best(vectors @ items.T * scales + biases, n)` gives, hidden items at -inf.

    `vectors` is (N, d), `items` (M, d), `biases` and `scales` (M,). Both results are (N, min(n, M)), filled up with
    NOTHING and -inf.
    """
    n = min(n, len(items))
    columns, scores = np.empty((len(vectors), n), np.int64), np.empty((len(vectors), n), np.float32)
    hidden = hidden or Hidden([np.empty(0, np.int64)] * len(vectors))
    for start in range(0, len(vectors), MAX_VECTORS):
        rows = slice(start, min(start + MAX_VECTORS, len(vectors)))
        question = _Question(vectors[rows], items, biases, scales, hidden, rows)
        columns[rows], scores[rows] = _in_parts(question, n)
    return columns, scores


@dataclass(frozen=True, slots=True)
class _Question:
    """Vectors, and all that they are multiplied with. `rows` are theirs among those of `hidden`."""

    vectors: Matrix
    items: Matrix
    biases: Matrix
    scales: Matrix | None
    hidden: Hidden
    rows: slice

    def blocks(self, part: range) -> Iterator[tuple[int, Matrix]]:
        """The first item and the scores (items of the block, N) of each block of a part. One buffer holds them."""
        # Items times vectors, not the other way round: three times faster in OpenBLAS where vectors are few.
        turned = np.ascontiguousarray(self.vectors.T, np.float32)
        buffer = np.empty((min(BLOCK_ITEMS, len(part)), len(self.vectors)), np.float32)
        for start in range(part.start, part.stop, BLOCK_ITEMS):
            chosen = slice(start, min(start + BLOCK_ITEMS, part.stop))
            block = buffer[: chosen.stop - chosen.start]
            np.matmul(self.items[chosen], turned, out=block)
            if self.scales is not None:
                block *= self.scales[chosen, None]
            block += self.biases[chosen, None]
            columns, rows = self.hidden.within(start, chosen.stop)
            own = (rows >= self.rows.start) & (rows < self.rows.stop)
            block[columns[own], rows[own] - self.rows.start] = -np.inf
            yield start, block


def _in_parts(question: _Question, n: int) -> tuple[Items, Scores]:
    """A part of the items for each core: they need nothing of each other, and numpy holds no lock of Python's."""
    items = len(question.items)
    blocks = -(-items // BLOCK_ITEMS)
    threads = max(1, min(_cores(), MAX_THREADS, blocks // _LEAST_BLOCKS))
    if threads == 1:
        return _best(question, range(items), n)
    step = -(-blocks // threads) * BLOCK_ITEMS
    parts = [range(start, min(start + step, items)) for start in range(0, items, step)]
    others = [_pool().submit(_best, question, part, n) for part in parts[1:]]
    found = [_best(question, parts[0], n), *(each.result() for each in others)]
    columns, scores = (np.concatenate(each, axis=1) for each in zip(*found, strict=True))
    order = np.lexsort((columns, -scores), axis=1)[:, :n]
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(scores, order, axis=1)


_cores = functools.cache(usable_cores)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(MAX_THREADS - 1, thread_name_prefix="products")


def _best(question: _Question, part: range, n: int) -> tuple[Items, Scores]:
    rows, blocks = len(question.vectors), question.blocks(part)
    if 0 < len(part) <= BLOCK_ITEMS and part.start == 0:
        # One block is all there is: nothing to compare it with.
        return best(np.ascontiguousarray(next(blocks)[1].T), n)
    top = _Top(rows, n)
    for first, block in blocks:
        top.add(first, block)
    return top.found()


class _Top:
    """The n best of each row so far. Blocks come in the order of their columns, so that of equals the first stay."""

    def __init__(self, rows: int, n: int) -> None:
        self._rows, self._n = rows, n
        self._columns = np.full((rows, n), NOTHING, np.int64)
        self._scores = np.full((rows, n), -np.inf, np.float32)
        # The n-th best of each row when it was last looked at: too low is slower, never wrong.
        self._border = np.full((BLOCK_ITEMS, rows), -np.inf, np.float32)
        self._pool: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = []
        self._pooled = 0
        self._blocks = 0

    def add(self, first: int, block: Matrix) -> None:
        """Take in scores (columns from `first`, rows). They may be overwritten afterwards."""
        above = np.flatnonzero(block > self._border[: len(block)])
        if len(above) > max(self._rows * self._n, _DENSE_SHARE * block.size):
            columns, scores = best(np.ascontiguousarray(block.T), self._n)
            kept = columns != NOTHING
            self._keep(np.nonzero(kept)[0], columns[kept] + first, scores[kept])
        elif len(above):
            self._keep(above % self._rows, above // self._rows + first, block.ravel()[above])
        self._blocks += 1
        # The border falls behind less and less: it is worth a look after 1, 2, 4, 8 ... blocks.
        if self._blocks & (self._blocks - 1) == 0 or self._pooled > 4 * self._rows * self._n:
            self._merge()

    def found(self) -> tuple[Items, Scores]:
        """Columns and scores, (rows, n)."""
        self._merge()
        return self._columns, self._scores

    def _keep(self, rows: NDArray[np.int64], columns: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        self._pool.append((rows, columns, scores))
        self._pooled += len(rows)

    def _merge(self) -> None:
        if not self._pool:
            return
        kept = self._columns != NOTHING
        parts = [(np.nonzero(kept)[0], self._columns[kept], self._scores[kept]), *self._pool]
        rows, columns, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.lexsort((columns, -scores, rows))
        rows, columns, scores = rows[order], columns[order], scores[order]
        place = np.arange(len(rows)) - np.searchsorted(rows, rows)
        chosen = place < self._n
        self._columns[rows[chosen], place[chosen]] = columns[chosen]
        self._scores[rows[chosen], place[chosen]] = scores[chosen]
        self._border[:] = self._scores[:, -1]
        self._pool, self._pooled = [], 0

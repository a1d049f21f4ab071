"""The n best entries of each row of a matrix product, without storing the product.

Blocks of items times all vectors stay in the cache of the processor; one comparison drops the scores that are not above
the n-th best so far. A million items x 64 for 16 users take 42 ms; the full product and a partition of each row take
92 ms (one core of an AMD EPYC with AVX-512; `python -m tests.measure.top_k_products`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.cores import usable_cores
from models.recommender.algorithms.top_k import PADDING, Items, Scores, select_top_k

Matrix = NDArray[np.float32]

# 8192 items x 16 users are 512 KiB, half of a core's second-level cache.
BLOCK_ITEMS = 8192
# The maximum number of vectors per pass: with more, the block of scores exceeds the cache.
MAX_VECTORS = 64
# The maximum number of threads per query, and the minimum number of blocks per thread.
MAX_THREADS = 8
_MIN_BLOCKS = 4
# Above this share of a block, a partition of the block is faster than selecting single entries.
_DENSE_SHARE = 1 / 16


class ExcludedItems:
    """Items that must not be selected, by row of the query. A row may contain duplicates."""

    def __init__(self, per_row: Sequence[NDArray[np.integer]]) -> None:
        self._per_row = per_row
        counts = [len(each) for each in per_row]
        self.max_per_row = max(counts, default=0)
        """The largest number of excluded items of one row."""
        rows = np.repeat(np.arange(len(per_row)), counts)
        columns = np.concatenate([*per_row, np.empty(0, np.int64)]).astype(np.int64)
        order = np.argsort(columns, kind="stable")
        self._rows, self._columns = rows[order], columns[order]

    def in_range(self, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return columns, relative to `start`, and rows of the excluded items in a range of items."""
        low, high = np.searchsorted(self._columns, (start, stop))
        return self._columns[low:high] - start, self._rows[low:high]

    def for_rows(self, rows: NDArray[np.int64]) -> ExcludedItems:
        """Return the excluded items of some rows."""
        return ExcludedItems([self._per_row[row] for row in rows.tolist()])

    def mask(self, items: Items, scores: Scores) -> None:
        """Set the scores of excluded items to -inf in place. `items` and `scores` are (N, K)."""
        for row, columns in enumerate(self._per_row):
            if len(columns):
                scores[row, np.isin(items[row], columns)] = -np.inf


def product_top_k(
    vectors: Matrix,
    items: Matrix,
    biases: Matrix,
    n: int,
    *,
    excluded: ExcludedItems | None = None,
    scales: Matrix | None = None,
) -> tuple[Items, Scores]:
    """Return `select_top_k(vectors @ items.T * scales + biases, n)` without the excluded items.

    `vectors` is (N, d), `items` (M, d), `biases` and `scales` (M,). Both results are (N, min(n, M)), padded with
    NOTHING and -inf.
    """
    n = min(n, len(items))
    columns, scores = np.empty((len(vectors), n), np.int64), np.empty((len(vectors), n), np.float32)
    excluded = excluded or ExcludedItems([np.empty(0, np.int64)] * len(vectors))
    for start in range(0, len(vectors), MAX_VECTORS):
        rows = slice(start, min(start + MAX_VECTORS, len(vectors)))
        query = _Query(vectors[rows], items, biases, scales, excluded, rows)
        columns[rows], scores[rows] = _in_parallel(query, n)
    return columns, scores


@dataclass(frozen=True, slots=True)
class _Query:
    """The operands of the product. `rows` are the rows of the vectors in `excluded`."""

    vectors: Matrix
    items: Matrix
    biases: Matrix
    scales: Matrix | None
    excluded: ExcludedItems
    rows: slice

    def blocks(self, part: range) -> Iterator[tuple[int, Matrix]]:
        """Yield the first item and the scores (items of the block, N) of each block, in one reused buffer."""
        # Items times vectors: for few vectors three times faster in OpenBLAS than the reverse.
        transposed = np.ascontiguousarray(self.vectors.T, np.float32)
        buffer = np.empty((min(BLOCK_ITEMS, len(part)), len(self.vectors)), np.float32)
        for start in range(part.start, part.stop, BLOCK_ITEMS):
            items = slice(start, min(start + BLOCK_ITEMS, part.stop))
            block = buffer[: items.stop - items.start]
            np.matmul(self.items[items], transposed, out=block)
            if self.scales is not None:
                block *= self.scales[items, None]
            block += self.biases[items, None]
            columns, rows = self.excluded.in_range(start, items.stop)
            is_own = (rows >= self.rows.start) & (rows < self.rows.stop)
            block[columns[is_own], rows[is_own] - self.rows.start] = -np.inf
            yield start, block


def _in_parallel(query: _Query, n: int) -> tuple[Items, Scores]:
    """Split the items over the cores. Parts are independent, and numpy releases the GIL."""
    items = len(query.items)
    blocks = -(-items // BLOCK_ITEMS)
    threads = max(1, min(_cores(), MAX_THREADS, blocks // _MIN_BLOCKS))
    if threads == 1:
        return _top_of_part(query, range(items), n)
    step = -(-blocks // threads) * BLOCK_ITEMS
    parts = [range(start, min(start + step, items)) for start in range(0, items, step)]
    others = [_pool().submit(_top_of_part, query, part, n) for part in parts[1:]]
    results = [_top_of_part(query, parts[0], n), *(each.result() for each in others)]
    columns, scores = (np.concatenate(each, axis=1) for each in zip(*results, strict=True))
    order = np.lexsort((columns, -scores), axis=1)[:, :n]
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(scores, order, axis=1)


_cores = functools.cache(usable_cores)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(MAX_THREADS - 1, thread_name_prefix="products")


def _top_of_part(query: _Query, part: range, n: int) -> tuple[Items, Scores]:
    rows, blocks = len(query.vectors), query.blocks(part)
    if 0 < len(part) <= BLOCK_ITEMS and part.start == 0:
        # A single block needs no merge.
        return select_top_k(np.ascontiguousarray(next(blocks)[1].T), n)
    top = _RunningTop(rows, n)
    for first, block in blocks:
        top.add(first, block)
    return top.result()


class _RunningTop:
    """The n best of each row so far. Blocks arrive in column order, so that of equal scores the first remain."""

    def __init__(self, rows: int, n: int) -> None:
        self._rows, self._n = rows, n
        self._columns = np.full((rows, n), PADDING, np.int64)
        self._scores = np.full((rows, n), -np.inf, np.float32)
        # The n-th best of each row at the last merge. A low value is slower, not wrong.
        self._border = np.full((BLOCK_ITEMS, rows), -np.inf, np.float32)
        self._pending: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = []
        self._pending_count = 0
        self._blocks = 0

    def add(self, first: int, block: Matrix) -> None:
        """Add scores (columns from `first`, rows). The block may be overwritten afterwards."""
        above = np.flatnonzero(block > self._border[: len(block)])
        if len(above) > max(self._rows * self._n, _DENSE_SHARE * block.size):
            columns, scores = select_top_k(np.ascontiguousarray(block.T), self._n)
            is_filled = columns != PADDING
            self._collect(np.nonzero(is_filled)[0], columns[is_filled] + first, scores[is_filled])
        elif len(above):
            self._collect(above % self._rows, above // self._rows + first, block.ravel()[above])
        self._blocks += 1
        # The border changes less and less: update it after 1, 2, 4, 8, ... blocks.
        if self._blocks & (self._blocks - 1) == 0 or self._pending_count > 4 * self._rows * self._n:
            self._merge()

    def result(self) -> tuple[Items, Scores]:
        """Return columns and scores, (rows, n)."""
        self._merge()
        return self._columns, self._scores

    def _collect(self, rows: NDArray[np.int64], columns: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        self._pending.append((rows, columns, scores))
        self._pending_count += len(rows)

    def _merge(self) -> None:
        if not self._pending:
            return
        is_filled = self._columns != PADDING
        parts = [(np.nonzero(is_filled)[0], self._columns[is_filled], self._scores[is_filled]), *self._pending]
        rows, columns, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.lexsort((columns, -scores, rows))
        rows, columns, scores = rows[order], columns[order], scores[order]
        rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
        is_top = rank < self._n
        self._columns[rows[is_top], rank[is_top]] = columns[is_top]
        self._scores[rows[is_top], rank[is_top]] = scores[is_top]
        self._border[:] = self._scores[:, -1]
        self._pending, self._pending_count = [], 0

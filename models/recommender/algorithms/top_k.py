"""Selection of the n best entries of each row of scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PADDING = -1
Items = NDArray[np.int64]
Scores = NDArray[np.float32]

# Every 64th column is sampled when a row has at least this many columns per requested item.
_SAMPLE_STEP = 64
_MIN_SAMPLED_COLUMNS = 8 * _SAMPLE_STEP


def select_top_k(scores: Scores, n: int) -> tuple[Items, Scores]:
    """Return columns and scores of the n highest entries of each row, best first; equal scores by column.

    `scores` is (N, columns); a column at -inf (or NaN) is not selected. Both results are (N, min(n, columns)); short
    rows are padded with PADDING and -inf. O(columns + n log n) per row.
    """
    n = min(n, scores.shape[1])
    # The maximum of numbers with a NaN is NaN: one pass over the scores instead of several.
    if scores.size and np.isnan(scores.max()):
        scores = np.nan_to_num(scores, nan=-np.inf, posinf=np.inf, neginf=-np.inf, copy=False)
    columns = _top_columns(scores, n)
    selected = np.take_along_axis(scores, columns, axis=1)
    order = np.lexsort((columns, -selected), axis=1)
    columns, selected = np.take_along_axis(columns, order, axis=1), np.take_along_axis(selected, order, axis=1)
    columns[np.isneginf(selected)] = PADDING
    return columns, selected


def _top_columns(scores: Scores, n: int) -> Items:
    if scores.shape[1] >= _MIN_SAMPLED_COLUMNS * max(1, n):
        return np.stack([_top_of_row(row, n) for row in scores]) if len(scores) else np.empty((0, n), np.int64)
    return _partition(scores, n)


def _top_of_row(row: Scores, n: int) -> Items:
    """Return the n best columns of a row. The n-th best of a sample is a lower bound: few columns remain.

    A million columns take 0.6 ms; argpartition takes 10 ms.
    """
    bound = np.partition(row[::_SAMPLE_STEP], -n)[-n]
    remaining = np.flatnonzero(row >= bound)
    # With many equal scores, as of items without interactions, the bound removes too few columns.
    if len(remaining) > len(row) // 4:
        remaining = np.arange(len(row))
    columns: NDArray[np.int64] = remaining[_partition(row[None, remaining], n)[0]]
    return columns


def _partition(scores: Scores, n: int) -> Items:
    if n == scores.shape[1]:
        return np.broadcast_to(np.arange(n), scores.shape).copy()
    # argpartition selects any of several equal scores at the border; select the lowest columns.
    columns = np.argpartition(scores, -n, axis=1)[:, -n:].astype(np.int64)
    borders = np.take_along_axis(scores, columns, axis=1).min(axis=1)
    tied = np.flatnonzero((scores >= borders[:, None]).sum(axis=1) > n)
    for row in tied:
        above = np.flatnonzero(scores[row] > borders[row])
        level = np.flatnonzero(scores[row] == borders[row])
        columns[row] = np.concatenate((above, level[: n - len(above)]))
    return columns

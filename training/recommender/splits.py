"""Split interactions into a training part and a test part."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import DataInvalid
from models.recommender.dataset.dataset import Dataset, filter_interactions, stored_rows

Split = Literal["random", "last"]


def split(dataset: Dataset, how: Split, *, test_share: float, seed: int) -> tuple[Dataset, Dataset]:
    """Return a training and a test part, each with all rows and columns.

    "random" puts a random share of every user's interactions into the test part, "last" the latest share. A single
    interaction stays in the training part; of n interactions, round(share x n) are taken, but never all. Raises
    DataInvalid when times are needed and missing, or the test part is empty.
    """
    if not 0 < test_share < 1:
        raise DataInvalid(f"the test share must be between 0 and 1, not {test_share:g}")
    if how == "last" and dataset.times is None:
        raise DataInvalid("the split 'last' needs a column of times; name it, or use the split 'random'")
    ranks = _ranks(dataset, how, np.random.default_rng(seed))
    counts = np.repeat(dataset.activity(), dataset.activity())
    taken = np.minimum(np.floor(test_share * counts + 0.5), counts - 1)
    is_test = ranks >= counts - taken
    if not is_test.any():
        raise DataInvalid(f"no user has enough interactions to hold out {test_share:.0%} of them; give more data")
    return filter_interactions(dataset, ~is_test), filter_interactions(dataset, is_test)


def _ranks(dataset: Dataset, how: Split, random: np.random.Generator) -> NDArray[np.int64]:
    """Return the rank of each interaction among its user's, from 0, in the order of the split."""
    matrix = dataset.interactions
    rows = stored_rows(matrix)
    shuffled = random.random(matrix.nnz)
    times = dataset.times if how == "last" and dataset.times is not None else shuffled
    order = np.lexsort((shuffled, times, rows))
    ranks = np.empty(matrix.nnz, np.int64)
    ranks[order] = np.arange(matrix.nnz) - matrix.indptr[rows[order]]
    return ranks

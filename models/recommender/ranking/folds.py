"""Folds of interactions for training a ranker."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.recommender.dataset.dataset import Dataset, stored_rows


def assign_folds(dataset: Dataset, folds: int, seed: int) -> NDArray[np.int64]:
    """Assign a fold to each stored interaction; those of a user are distributed evenly from a random start."""
    random = np.random.default_rng(seed)
    matrix = dataset.interactions
    rows = stored_rows(matrix)
    order = np.lexsort((random.random(matrix.nnz), rows))
    position = np.empty(matrix.nnz, np.int64)
    position[order] = np.arange(matrix.nnz) - matrix.indptr[rows[order]]
    return np.asarray((position + random.integers(0, max(1, folds), dataset.users)[rows]) % max(1, folds))

"""The interface of predictors that map arrays to arrays."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.store.artifacts import Artifact


class ArrayPredictor(Protocol):
    """A predictor that maps N rows to N rows: an image classifier or a tabular model.

    `predict` takes N >= 1 rows and returns float32 of shape (N, K): K probabilities, or K = 1 estimate. Row i of the
    output depends only on row i of the input. It is thread-safe.
    """

    artifact: Artifact

    def predict(self, rows: NDArray[np.generic]) -> NDArray[np.float32]: ...

    def example(self) -> NDArray[np.generic]:
        """Return one valid row, shape (1, ...), for warm-up and probes."""
        ...
